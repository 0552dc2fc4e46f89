"""The loops of bench by multiprocessing: peer.py KIND CPU CPU, with the input
and output of peer.c beside it."""
import multiprocessing
import os
import sys
import time
from collections import Counter


def bucket(ns):  # as hist.go has them
    if ns < 128:
        return ns
    exp = ns.bit_length() - 8
    return (exp + 1) * 128 + (ns >> exp) - 128


def echo(msg):
    return msg


def ends(kind, ctx):
    """send and recv of each side; None for what has no payload."""
    if kind == "Pipe":
        a, b = ctx.Pipe()
        return (a.send_bytes, a.recv_bytes), (b.send_bytes, b.recv_bytes)
    if kind == "Queue":
        a, b = ctx.Queue(), ctx.Queue()
        return (a.put, b.get), (b.put, a.get)
    a, b = ctx.Semaphore(0), ctx.Semaphore(0)
    return (lambda _: a.release(), b.acquire), (lambda _: b.release(), a.acquire)


def play(end, op, size, n, second):
    send, recv = end
    msg = b"\1" * size
    times = []
    if second:
        for _ in range(n):
            got = recv()
            if op == "ping":
                send(got)
    elif op == "ping":
        clock = time.perf_counter_ns
        last = clock()
        for _ in range(n):
            send(msg)
            recv()
            t = clock()
            times.append(t - last)
            last = t
    else:
        for _ in range(n):
            send(msg)
    return times


def bind(cpu):
    if cpu >= 0:
        os.sched_setaffinity(0, [cpu])


def second_side(end, cpu, control, other):
    other.close()
    bind(cpu)
    while True:
        try:
            op, size, n = control.recv()
        except EOFError:
            os._exit(0)
        cpu_time = time.process_time_ns()
        play(end, op, size, n, True)
        control.send((time.perf_counter_ns(), time.process_time_ns() - cpu_time))


def answer(ns, cpu, times):
    counts = Counter(map(bucket, times))
    print(ns, cpu, *(f"{k}:{c}" for k, c in sorted(counts.items())), flush=True)


def commands():
    for line in sys.stdin:
        op, size, n = line.split()
        yield op, int(size), int(n)


def pool_main(ctx, a, b):
    with ctx.Pool(1, bind, (b,)) as pool:
        bind(a)
        print("ready", os.getpid(), pool.apply(os.getpid), flush=True)
        cpu_time = lambda: time.process_time_ns() + pool.apply(time.process_time_ns)
        for op, size, n in commands():
            before = cpu_time()
            start = time.perf_counter_ns()
            result = [None]

            def call(msg):
                result[0] = pool.apply(echo, (msg,))

            times = play((call, lambda: result[0]), op, size, n, False)
            answer(time.perf_counter_ns() - start, cpu_time() - before, times)


def main():
    kind, a, b = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ctx = multiprocessing.get_context("fork")
    if kind == "Pool":
        return pool_main(ctx, a, b)
    first, second = ends(kind, ctx)
    control, theirs = ctx.Pipe()
    p = ctx.Process(target=second_side, args=(second, b, theirs, control), daemon=True)
    p.start()
    theirs.close()
    bind(a)
    print("ready", os.getpid(), p.pid, flush=True)
    for op, size, n in commands():
        control.send((op, size, n))
        cpu = time.process_time_ns()
        start = time.perf_counter_ns()
        times = play(first, op, size, n, False)
        end, used = time.perf_counter_ns(), 0
        their_end, their_cpu = control.recv()
        used = time.process_time_ns() - cpu
        answer(max(end, their_end) - start, used + their_cpu, times)
    control.close()
    p.join()


if __name__ == "__main__":
    main()
