"""An app that leaves behind a thread which never ends."""

import threading

threading.Thread(target=threading.Event().wait, name="left behind").start()
