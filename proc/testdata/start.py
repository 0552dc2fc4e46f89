# Starts a function N times in a process and joins it: prints nanoseconds a
# piece, the median.
import multiprocessing
import sys
import time


def nothing():
    pass


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    took = []
    for i in range(int(sys.argv[2]) + 1):
        start = time.monotonic_ns()
        p = context.Process(target=nothing)
        p.start()
        p.join()
        took.append(time.monotonic_ns() - start)
    took = sorted(took[1:])  # the first one starts the fork server
    print(took[len(took) // 2])
