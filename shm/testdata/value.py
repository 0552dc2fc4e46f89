"""The time of one operation on multiprocessing's Value and Array, in ns: the
fastest of several runs, as their twins here are measured."""
import multiprocessing
import timeit

v = multiprocessing.Value("q", 0)
a = multiprocessing.Array("q", 100)


def add():
    with v.get_lock():
        v.value += 1


def load():
    return v.value


def store():
    v.value = 3


def load_element():
    return a[7]


def store_element():
    a[7] = 7


N = 5000
for f in (add, load, store, load_element, store_element):
    print(f.__name__, min(timeit.repeat(f, number=N, repeat=5)) / N * 1e9)
