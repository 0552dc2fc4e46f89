/* The C side of ExampleObject_c: takes samples out of a ring that a Go program
 * fills, and adds them up, scaled. The layout is that of struct table in
 * c_example_test.go; every offset below is checked on both sides. */
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SLOTS 64

struct sample {
  int64_t number; /* -1: the last */
  double value;
};

struct table {
  double scale;               /*   0 written by Go before the start */
  char unit[24];              /*   8 ends with a zero byte */
  double sum;                 /*  32 written by C */
  char pad1[24];
  _Atomic uint64_t head;      /*  64 samples taken; C writes, Go reads */
  char pad2[56];
  _Atomic uint64_t tail;      /* 128 samples put in; Go writes, C reads */
  char pad3[56];
  struct sample slots[SLOTS]; /* 192 sample n lies in slot n % SLOTS */
};

_Static_assert(offsetof(struct table, sum) == 32, "sum");
_Static_assert(offsetof(struct table, head) == 64, "head");
_Static_assert(offsetof(struct table, tail) == 128, "tail");
_Static_assert(offsetof(struct table, slots) == 192, "slots");
_Static_assert(sizeof(struct table) == 192 + SLOTS * 16, "size");

int main(void) {
  const char *fd = getenv("TABLE"); /* the descriptor's number: proc.Cmd.Files */
  if (!fd)
    return 2;
  struct table *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
  if (t == MAP_FAILED)
    return 3;
  for (uint64_t head = 0;; head++) {
    while (atomic_load_explicit(&t->tail, memory_order_acquire) == head)
      sched_yield(); /* empty */
    struct sample s = t->slots[head % SLOTS];
    atomic_store_explicit(&t->head, head + 1, memory_order_release);
    if (s.number == -1)
      return 0;
    t->sum += t->scale * s.value;
  }
}
