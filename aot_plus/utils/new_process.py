"""Takes the place of the main program in a process of the launcher, before it imports anything.

While it imports torch, for seconds, Ctrl-C ends it without a traceback, and it does not outlive the launcher.
"""

import signal

from evaluation.parallel import end_with_parent

signal.signal(signal.SIGINT, signal.SIG_DFL)
end_with_parent()
