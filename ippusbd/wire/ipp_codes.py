"""Registered numbers of IPP: operations, statuses and states (RFC 8011, PWG 5100 series).

What a printer sends stays an int everywhere; these names are for comparing and
encoding. A number that is not listed is no error.
"""

from __future__ import annotations

from enum import IntEnum


class Operation(IntEnum):
    """operation-id of a request."""

    PRINT_JOB = 0x02
    PRINT_URI = 0x03
    VALIDATE_JOB = 0x04
    CREATE_JOB = 0x05
    SEND_DOCUMENT = 0x06
    CANCEL_JOB = 0x08
    GET_JOB_ATTRIBUTES = 0x09
    GET_JOBS = 0x0A
    GET_PRINTER_ATTRIBUTES = 0x0B
    GET_PRINTER_SUPPORTED_VALUES = 0x15
    GET_SUBSCRIPTION_ATTRIBUTES = 0x18
    GET_SUBSCRIPTIONS = 0x19
    GET_NOTIFICATIONS = 0x1C
    GET_DOCUMENT_ATTRIBUTES = 0x34
    GET_DOCUMENTS = 0x35
    CANCEL_MY_JOBS = 0x39
    CLOSE_JOB = 0x3B
    IDENTIFY_PRINTER = 0x3C


class Status(IntEnum):
    """status-code of a response; below 0x100 it succeeded."""

    OK = 0x0000
    OK_CONFLICTING = 0x0002
    BAD_REQUEST = 0x0400
    NOT_AUTHORIZED = 0x0403
    NOT_POSSIBLE = 0x0404
    NOT_FOUND = 0x0406
    GONE = 0x0407
    DOCUMENT_FORMAT_NOT_SUPPORTED = 0x040A
    ATTRIBUTES_OR_VALUES_NOT_SUPPORTED = 0x040B
    CHARSET_NOT_SUPPORTED = 0x040D
    COMPRESSION_NOT_SUPPORTED = 0x040F
    COMPRESSION_ERROR = 0x0410
    INTERNAL_ERROR = 0x0500
    OPERATION_NOT_SUPPORTED = 0x0501
    VERSION_NOT_SUPPORTED = 0x0503
    NOT_ACCEPTING_JOBS = 0x0506
    BUSY = 0x0507
    JOB_CANCELED = 0x0508
    MULTIPLE_DOCUMENT_JOBS_NOT_SUPPORTED = 0x0509


class PrinterState(IntEnum):
    """printer-state."""

    IDLE = 3
    PROCESSING = 4
    STOPPED = 5


class JobState(IntEnum):
    """job-state; from CANCELED on a job is over."""

    PENDING = 3
    PROCESSING = 5
    PROCESSING_STOPPED = 6
    CANCELED = 7
    ABORTED = 8
    COMPLETED = 9
