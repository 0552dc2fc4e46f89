"""The ns of one message of 64 bytes through multiprocessing.Queue, from one
process to another on another CPU: a number for each of some rounds."""
import multiprocessing
import os
import sys
import time

cpus = sorted(os.sched_getaffinity(0))
n, rounds = int(sys.argv[1]), int(sys.argv[2])


def produce(q, go):
    os.sched_setaffinity(0, cpus[:1])
    msg = b"x" * 64
    for _ in range(rounds):
        go.acquire()
        for _ in range(n):
            q.put(msg)
    q.close()
    q.join_thread()


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    q, go = multiprocessing.Queue(), multiprocessing.Semaphore(0)
    p = multiprocessing.Process(target=produce, args=(q, go))
    p.start()
    os.sched_setaffinity(0, cpus[1:2])
    for _ in range(rounds):
        start = time.perf_counter()
        go.release()
        for _ in range(n):
            if len(q.get()) != 64:
                sys.exit("a message of another length")
        print((time.perf_counter() - start) / n * 1e9, flush=True)
    p.join()
