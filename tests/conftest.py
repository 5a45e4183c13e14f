"""What all tests need."""

import signal

# A suite that was started in the background inherits that Ctrl-C is ignored; some tests send one.
signal.signal(signal.SIGINT, signal.default_int_handler)
