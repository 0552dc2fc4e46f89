// Package pipe sends whole messages between processes over the descriptors
// that the kernel already has: pipes, FIFOs and local sockets.
//
// A pipe carries a stream of bytes, and a stream forgets where one write ended
// and the next began. A [Conn] remembers: [Conn.Send] puts one message in,
// [Conn.Recv] takes exactly that message out.
//
//	a, b, err := pipe.Pair()        // two ends, both can send and receive
//	a.Send(ctx, []byte("hello"))
//	n, err := b.Recv(ctx, buf)      // buf[:n] is "hello"
//
//	process A                    the kernel                   process B
//	Send ──► length│message ──► socket or pipe ──► length│message ──► Recv
//	              one frame        (its buffer)        whole again
//
// Which constructor?
//
//   - [Pair]: two connected ends, messages of any size.
//   - [PacketPair]: the same, but the kernel keeps the boundaries. Several
//     processes may then send or receive on one end; a message can't be larger
//     than the socket's send buffer (about 200 KiB).
//   - [OneWay]: a pipe; one end sends, the other receives. The fastest.
//   - [OpenFIFO]: a pipe with a name in the file system.
//   - [Listen] and [Dial]: Conns between processes that have only a name in
//     common; [Conn.Peer] says who is at the other end.
//   - [FromFile]: any of these that some other code opened.
//
// On a stream (Pair, OneWay, FIFOs) a message travels as a frame: its length,
// eight bytes little-endian, then its bytes. A peer in another language
// needs nothing more than that to take part. One end of a stream belongs to
// one process at a time, because what a receiver has read ahead no other
// process can see; frames of up to 4,088 bytes in a pipe are the exception
// for senders, since the kernel writes 4,096 bytes in one piece.
//
// Every call that waits takes a context and ends with its error as soon as the
// context does. No thread is held meanwhile: waiting is done by Go's network
// poller. Before that, for 50 µs at most, a call gives its CPU to others and looks
// again, since most answers come sooner than a sleeper wakes; where they don't,
// calls learn to do without. A Conn is also a [net.Conn], so encoding/gob and
// net/rpc run over it.
//
// [Conn.SendFiles] sends open files along with a message. [Select] waits for
// several Conns, Listeners, processes or queues at once; [Splice] and [Tee] move
// bytes between descriptors inside the kernel.
//
// A Conn may be an argument of a child process: see [Conn.PassFiles].
//
// # When a process is killed
//
// The kernel closes its descriptors. The other end receives all that was sent whole,
// then io.EOF, or io.ErrUnexpectedEOF if the dead one was in the middle of a
// frame; its Send fails with EPIPE. There is no lock that could stay held. What the
// kernel had taken from a killed sender arrives; what a killed receiver had read
// is gone with it, which may be more than one message on a stream, as a receiver
// reads ahead.
//
// # What it costs
//
//	                                system calls                         threads held
//	Send                            1 (sendto or write)                  none
//	Recv, a message is there        1 (recvmsg or read)                  none
//	Recv, it comes within 50 µs     1 or 2, and sched_yield              none
//	Recv, it comes later            2 reads, epoll_pwait by the poller   none
//	Select                          epoll_ctl a Conn, 1 to wait          none
//
// A thousand waiting receivers are a thousand goroutines and no thread, and two
// descriptors each: the first who has to wait in a direction makes an epoll instance
// for it. A message is
// copied twice, into the kernel and out of it; [Splice] and [Tee] copy nothing.
//
// # Kernels
//
// Linux 5.4 has all that is needed. Further: [Conn.PeerFile] 6.5; without pidfds
// Select can't wait for processes.
//
// # Sources
//
// pipe(7), unix(7), fifo(7), splice(2), tee(2). Framing with an eight-byte length is
// as old as records in streams. What the look before parking is worth, and what
// was tried instead, stands in yield.go.
package pipe
