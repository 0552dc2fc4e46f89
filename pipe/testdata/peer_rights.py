# As peer_rights.c, with what Python brings.
import os, socket, struct, sys

frames = sys.argv[1] == "Pair"
s = socket.socket(fileno=3)
data, fds, flags, _ = socket.recv_fds(s, 4096, 10)
if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
    sys.exit("cut off: %#x" % flags)
if frames:
    (size,) = struct.unpack("<Q", data[:8])
    data = data[8:]
    if size != len(data):
        sys.exit("%d bytes of %d" % (len(data), size))
for fd in fds:
    data += b" " + os.pread(fd, 100, 0)
head = struct.pack("<Q", len(data)) if frames else b""
socket.send_fds(s, [head + data], fds[::-1])
