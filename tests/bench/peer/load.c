/* The clients of the benchmark: HTTP over loopback TCP, as cheap as can be.
 *
 * In the emulated guest Python costs fourteen times what it costs outside, so
 * a client in Python would measure itself. One thread per client, blocking
 * sockets, prepared requests, answers read only as far as their end must be
 * known. What this program itself costs (CPU time) is in its answer.
 *
 *   load ask  PORT REQUEST CLIENTS SECONDS keep|new   many small exchanges
 *   load move PORT HEAD BYTES plain|length|chunked    one exchange with a body of BYTES
 *   load first PORT REQUEST SECONDS                   ask until the first 200
 *
 * REQUEST and HEAD are files. `length` and `chunked` add the header that says
 * so, and the end of the head. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Asking for the first answer must not keep a daemon busy that is starting. */
enum { POLL_US = 40000 };
enum { BUFFER = 256 * 1024, CHUNK = 32 * 1024, MOST_CLIENTS = 64, PATIENCE_S = 60, KEPT = 4096 };

static int port;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static double own_cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static char *load_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    char *data = malloc(1 << 20);
    *size = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

/* --- a connection */

struct link {
    int sock;
    char *buffer; /* what was received and not yet taken: from `at` to `end` */
    size_t at, end;
};

static bool open_link(struct link *link) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    link->at = link->end = 0;
    link->sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(link->sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(link->sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(link->sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(link->sock, (struct sockaddr *)&address, sizeof address) == 0) return true;
    close(link->sock);
    link->sock = -1;
    return false;
}

static void close_link(struct link *link) {
    if (link->sock >= 0) close(link->sock);
    link->sock = -1;
}

static bool send_all(int sock, const char *data, size_t size) {
    while (size) {
        ssize_t sent = send(sock, data, size, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        data += sent;
        size -= sent;
    }
    return true;
}

static bool more(struct link *link) {
    if (link->at == link->end) link->at = link->end = 0;
    if (link->end == BUFFER) {
        memmove(link->buffer, link->buffer + link->at, link->end - link->at);
        link->end -= link->at;
        link->at = 0;
    }
    ssize_t got = recv(link->sock, link->buffer + link->end, BUFFER - link->end, 0);
    if (got <= 0) return false;
    link->end += got;
    return true;
}

/* The next line without its end; NULL at the end of the connection. */
static char *line_of(struct link *link) {
    while (true) {
        char *start = link->buffer + link->at;
        char *stop = memmem(start, link->end - link->at, "\r\n", 2);
        if (stop) {
            *stop = 0;
            link->at = stop + 2 - link->buffer;
            return start;
        }
        if (link->end - link->at >= BUFFER || !more(link)) return NULL;
    }
}

/* --- an answer */

struct answer {
    int status; /* 0: none, or cut short */
    long long size;
    char kept[KEPT]; /* the body's first bytes */
};

static bool take(struct link *link, long long count, struct answer *answer) {
    while (count) {
        if (link->at == link->end && !more(link)) return false;
        long long here = (long long)(link->end - link->at);
        if (here > count) here = count;
        if (answer->size < KEPT - 1) {
            long long room = KEPT - 1 - answer->size;
            memcpy(answer->kept + answer->size, link->buffer + link->at, here < room ? here : room);
        }
        link->at += here;
        answer->size += here;
        count -= here;
    }
    return true;
}

static bool take_chunks(struct link *link, struct answer *answer) {
    while (true) {
        char *line = line_of(link);
        if (!line) return false;
        long long size = strtoll(line, NULL, 16);
        if (!size) break;
        if (!take(link, size, answer)) return false;
        line = line_of(link);
        if (!line || *line) return false;
    }
    char *line;
    while ((line = line_of(link)) && *line) continue; /* trailers */
    return line != NULL;
}

static bool read_answer(struct link *link, struct answer *answer, bool *stays) {
    long long length = 0;
    bool chunked = false;
    char *line;
    *stays = true;
    memset(answer, 0, sizeof *answer);
    do {
        line = line_of(link);
        if (!line || strncmp(line, "HTTP/1.", 7)) return false;
        answer->status = atoi(line + 9);
        while ((line = line_of(link)) && *line) {
            if (!strncasecmp(line, "content-length:", 15)) length = atoll(line + 15);
            if (!strncasecmp(line, "transfer-encoding:", 18)) chunked = true;
            if (!strncasecmp(line, "connection: close", 17)) *stays = false;
        }
    } while (line && answer->status / 100 == 1);
    bool whole = line && (chunked ? take_chunks(link, answer) : take(link, length, answer));
    if (!whole) answer->status = 0;
    return whole;
}

/* --- many small exchanges */

struct client {
    pthread_t thread;
    const char *request;
    size_t size;
    double until;
    bool keep;
    long good, bad, room;
    float *took_ms;
};

static bool exchange(struct client *client, struct link *link) {
    struct answer answer;
    bool stays = false;
    if (link->sock < 0 && !open_link(link)) return false;
    bool good = send_all(link->sock, client->request, client->size) &&
                read_answer(link, &answer, &stays) && answer.status == 200;
    if (!good || !stays || !client->keep) close_link(link);
    return good;
}

static void note(struct client *client, double took_s) {
    if (client->good == client->room) {
        client->room = client->room ? 2 * client->room : 1024;
        client->took_ms = realloc(client->took_ms, client->room * sizeof(float));
    }
    client->took_ms[client->good++] = took_s * 1e3;
}

static void *client_main(void *argument) {
    struct client *client = argument;
    struct link link = {.sock = -1, .buffer = malloc(BUFFER)};
    double start;
    while ((start = now()) < client->until) {
        if (exchange(client, &link)) {
            note(client, now() - start);
        } else {
            client->bad++;
            usleep(10000);
        }
    }
    close_link(&link);
    free(link.buffer);
    return NULL;
}

static int compare(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void print_asked(struct client *clients, int count, double took_s) {
    long good = 0, bad = 0, next = 0;
    for (int i = 0; i < count; i++) {
        good += clients[i].good;
        bad += clients[i].bad;
    }
    float *all = malloc((good + 1) * sizeof(float));
    printf("{\"per_client\": [");
    for (int i = 0; i < count; i++) {
        printf("%s%ld", i ? ", " : "", clients[i].good);
        if (clients[i].good) memcpy(all + next, clients[i].took_ms, clients[i].good * sizeof(float));
        next += clients[i].good;
    }
    qsort(all, good, sizeof(float), compare);
    printf("], \"good\": %ld, \"bad\": %ld, \"seconds\": %.6f, \"own_cpu_s\": %.6f", good, bad,
           took_s, own_cpu());
    if (good)
        printf(", \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f", all[good / 2],
               all[good * 99 / 100], all[good - 1]);
    printf("}\n");
}

static int ask(const char *request, int count, double seconds, bool keep) {
    static struct client clients[MOST_CLIENTS];
    size_t size;
    const char *data = load_file(request, &size);
    double start = now();
    for (int i = 0; i < count; i++) {
        clients[i] = (struct client){.request = data, .size = size, .keep = keep};
        clients[i].until = start + seconds;
        if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i])) die("thread");
    }
    for (int i = 0; i < count; i++) pthread_join(clients[i].thread, NULL);
    print_asked(clients, count, now() - start);
    return 0;
}

/* --- one exchange with a big body */

static bool send_chunk(int sock, char *piece, size_t size) {
    char head[16];
    int length = snprintf(head, sizeof head, "%zx\r\n", size);
    memcpy(piece - length, head, length);
    memcpy(piece + size, "\r\n", 2);
    return send_all(sock, piece - length, length + size + 2);
}

static bool send_body(int sock, long long size, bool chunked) {
    size_t step = chunked ? CHUNK : BUFFER;
    char *room = malloc(step + 64), *piece = room + 32;
    memset(room, 'x', step + 64);
    bool good = true;
    while (good && size) {
        size_t here = size < (long long)step ? (size_t)size : step;
        good = chunked ? send_chunk(sock, piece, here) : send_all(sock, piece, here);
        size -= here;
    }
    if (chunked) good = good && send_all(sock, "0\r\n\r\n", 5);
    free(room);
    return good;
}

static bool send_request(int sock, const char *path, long long size, const char *framing) {
    size_t length;
    char *head = load_file(path, &length), extra[64] = "";
    bool chunked = !strcmp(framing, "chunked");
    if (chunked) snprintf(extra, sizeof extra, "Transfer-Encoding: chunked\r\n\r\n");
    if (!strcmp(framing, "length"))
        snprintf(extra, sizeof extra, "Content-Length: %lld\r\n\r\n", size);
    bool good = send_all(sock, head, length) && send_all(sock, extra, strlen(extra));
    return good && (!*extra || send_body(sock, size, chunked));
}

static void print_text(const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putchar('\\');
        if (*text >= ' ' && *text < 127) putchar(*text);
    }
}

static int move(const char *head, long long size, const char *framing) {
    struct link link = {.sock = -1, .buffer = malloc(BUFFER)};
    static struct answer answer;
    bool stays;
    double start = now();
    if (!open_link(&link)) die("connect");
    bool sent = send_request(link.sock, head, size, framing);
    double sent_s = now() - start;
    bool whole = read_answer(&link, &answer, &stays);
    printf("{\"status\": %d, \"sent\": %s, \"whole\": %s, \"bytes\": %lld, \"seconds\": %.6f, "
           "\"sent_s\": %.6f, \"own_cpu_s\": %.6f, \"answer\": \"",
           answer.status, sent ? "true" : "false", whole ? "true" : "false", answer.size,
           now() - start, sent_s, own_cpu());
    print_text(answer.size < KEPT ? answer.kept : "");
    printf("\"}\n");
    return 0;
}

/* --- the first answer after a plug */

static int first(const char *request, double seconds) {
    struct client client = {.keep = false};
    struct link link = {.sock = -1, .buffer = malloc(BUFFER)};
    client.request = load_file(request, &client.size);
    double end = now() + seconds;
    int tries = 1;
    while (!exchange(&client, &link)) {
        if (now() > end) die("no answer 200");
        usleep(POLL_US);
        tries++;
    }
    printf("{\"at_s\": %.6f, \"tries\": %d, \"own_cpu_s\": %.6f}\n", now(), tries, own_cpu());
    return 0;
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (count < 5) return 64;
    port = atoi(words[2]);
    if (!strcmp(words[1], "first")) return first(words[3], atof(words[4]));
    if (count < 6) return 64;
    if (!strcmp(words[1], "move")) return move(words[3], atoll(words[4]), words[5]);
    if (count < 7 || strcmp(words[1], "ask") || atoi(words[4]) > MOST_CLIENTS) return 64;
    return ask(words[3], atoi(words[4]), atof(words[5]), !strcmp(words[6], "keep"));
}
