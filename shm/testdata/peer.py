# The other side of the interop tests: multiprocessing.shared_memory, with the
# commands of peer.c. The resource tracker unlinks at exit whatever a process has
# attached, however many others use it; track=False, since Python 3.13, tells it not to.
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory


def shared(**how):
    try:
        return SharedMemory(track=False, **how)
    except TypeError:
        shm = SharedMemory(**how)
        resource_tracker.unregister(shm._name, "shared_memory")
        return shm


what, name = sys.argv[1:3]
if what == "edit":
    old, new = sys.argv[3].encode(), sys.argv[4].encode()
    shm = shared(name=name)
    if bytes(shm.buf[: len(old)]) != old:
        sys.exit("found %r, want %r" % (bytes(shm.buf[: len(old)]), old))
    shm.buf[: len(new)] = new
    print("ok", shm.size)
    shm.close()
elif what == "make":
    size, text = int(sys.argv[3]), sys.argv[4].encode()
    shm = shared(name=name, create=True, size=size)
    shm.buf[: len(text)] = text
    print("ok", flush=True)
    sys.stdin.read()
    shm.close()
elif what == "unlink":
    shm = shared(name=name)
    resource_tracker.register(shm._name, "shared_memory")  # which unlink undoes
    shm.unlink()
    shm.close()
    print("ok")
