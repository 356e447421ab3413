"""The log of a verb that runs on, as lines of JSON where [log] format says so: its own, and all that libraries log."""

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType

from ml.settings import settings

json_lines = False  # whether this process's log is JSON


class Line(logging.Formatter):
    """One JSON object a line: time, level, logger, message and, where there is one, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure() -> None:
    """Let this process log as [log] format says: nothing changes for "text".

    For "json" one handler takes the place of all others, so that each record is one line, and what is written otherwise
    becomes a record too: lines of verbs, warnings, exceptions that nobody caught.
    """
    global json_lines
    if settings().log.format != "json":
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Line())
    for logger in filter(lambda each: isinstance(each, logging.Logger), logging.root.manager.loggerDict.values()):
        logger.handlers, logger.propagate = [], True  # type: ignore[union-attr]
    logging.root.handlers = [handler]
    logging.getLogger("ml").setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda given: _uncaught(given.exc_type, given.exc_value, given.exc_traceback)
    json_lines = True


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None:
        logging.getLogger("ml").critical("nobody caught this", exc_info=(kind, error, trace))
