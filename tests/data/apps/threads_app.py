"""An app that leaves behind a thread which never ends, and one that dies."""

import threading

from eggycore import hookimpl

threading.Thread(target=threading.Event().wait, name="left behind").start()

DYING = threading.Thread(target=lambda: 1 / 0, name="dying")


@hookimpl
def register_services(runtime):
    DYING.start()
