"""How the status page looks: colours as data, so that a test can measure their contrast.

Wide or narrow, light or dark, large letters or small: the page follows the reader's settings,
conveys nothing by colour alone, and needs no script.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

# name -> (on light, on dark)
PALETTE: Final[dict[str, tuple[str, str]]] = {
    "ground": ("#f3f5f7", "#12161b"),
    "card": ("#ffffff", "#1c222a"),
    "ink": ("#17202a", "#e8edf2"),
    "faint": ("#52606d", "#a7b4c2"),
    "line": ("#cfd7df", "#364150"),
    "link": ("#0b57a4", "#8cc2ff"),
    "good": ("#14632f", "#7fdc9c"),
    "good-ground": ("#e2f4e8", "#153222"),
    "soon": ("#7a4a00", "#ffd27d"),
    "soon-ground": ("#fdf0d5", "#3a2c10"),
    "bad": ("#a11212", "#ffb0a8"),
    "bad-ground": ("#fde7e5", "#44191a"),
}
# Every pair of text and ground on the page.
PAIRS: Final = (
    ("ink", "ground"),
    ("ink", "card"),
    ("faint", "ground"),
    ("faint", "card"),
    ("link", "card"),
    ("link", "ground"),
    ("good", "good-ground"),
    ("soon", "soon-ground"),
    ("bad", "bad-ground"),
)
_RULES: Final = """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:1rem/1.5 system-ui,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif}
header,main,footer{max-width:72rem;margin:0 auto;padding:1rem}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.25rem 1rem}
h1{font-size:1.6rem;margin:0;flex:1 1 auto}
h2{font-size:1.15rem;margin:0;overflow-wrap:anywhere}
h3{font-size:1rem;margin:1rem 0 .25rem}
p{margin:.25rem 0}
a{color:var(--link)}
a:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-100rem}.skip:focus{position:static}
.printers{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));
align-items:start}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem}
.printers+.card{margin-top:1rem}
.top{display:flex;flex-wrap:wrap;gap:.5rem;justify-content:space-between;align-items:baseline}
.state{border-radius:1rem;padding:0 .7rem;font-weight:600;white-space:nowrap}
.good{background:var(--good-ground);color:var(--good)}
.soon{background:var(--soon-ground);color:var(--soon)}
.bad{background:var(--bad-ground);color:var(--bad)}
.advice{overflow-wrap:anywhere;border-radius:.4rem;padding:.4rem .7rem;margin:.5rem 0 0}
.faint{color:var(--faint)}
dl{display:grid;grid-template-columns:auto 1fr;gap:.1rem 1rem;margin:.75rem 0 0}
dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
.supplies{list-style:none;padding:0;margin:0;display:grid;gap:.5rem}
.supplies li{display:grid;grid-template-columns:1fr auto;gap:.1rem .75rem}
.supplies .level{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}
.bar{grid-column:1/-1;grid-row:2;display:block;height:.7rem;
border:1px solid var(--faint);border-radius:.35rem;overflow:hidden}
.bar svg{display:block;width:100%;height:100%}
.bar rect{fill:var(--faint)}.bar.low rect{fill:var(--bad)}
.log{list-style:none;padding:0;margin:0}
.log li{padding:.6rem 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
.log li:first-child{border-top:0}
footer{color:var(--faint);font-size:.9rem}
code{font-size:.95em}
"""


def _variables(which: int) -> str:
    return "".join(f"--{name}:{colours[which]};" for name, colours in PALETTE.items())


CSS: Final = (
    f":root{{color-scheme:light dark;{_variables(0)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(1)}}}}}{_RULES}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
