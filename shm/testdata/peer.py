# The other side of the interop tests: multiprocessing.shared_memory, with the
# commands of peer.c.
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

# The tracker unlinks, at exit, whatever its process has attached, however many
# others use it. Since Python 3.13 track=False keeps it out; here this does.
resource_tracker.register = resource_tracker.unregister = lambda name, kind: None

what, name = sys.argv[1:3]
if what == "edit":
    old, new = sys.argv[3].encode(), sys.argv[4].encode()
    shm = SharedMemory(name)
    if bytes(shm.buf[: len(old)]) != old:
        sys.exit("found %r, want %r" % (bytes(shm.buf[: len(old)]), old))
    shm.buf[: len(new)] = new
    print("ok", shm.size)
    shm.close()
elif what == "make":
    size, text = int(sys.argv[3]), sys.argv[4].encode()
    shm = SharedMemory(name, create=True, size=size)
    shm.buf[: len(text)] = text
    print("ok", flush=True)
    sys.stdin.read()
    shm.close()
elif what == "unlink":
    shm = SharedMemory(name)
    shm.unlink()
    shm.close()
    print("ok")
