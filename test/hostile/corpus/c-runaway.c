/* What a compiler makes of programs that run away. Built by build-c.ts. */
#define EXPORT(name) __attribute__((export_name(#name))) int name(void)

static volatile unsigned sink;

/* Large frames on the stack that C keeps in linear memory: it ends below address 0. */
static unsigned descend(unsigned depth) {
  volatile unsigned char frame[4096];
  frame[depth % sizeof frame] = (unsigned char)depth;
  return descend(depth + 1) + frame[(depth * 7) % sizeof frame];
}
EXPORT(large_frames) { return (int)descend(0); }

/* Small frames: the counted depth comes first. */
__attribute__((noinline)) static unsigned ackermann(unsigned m, unsigned n) {
  if (m == 0) return n + 1;
  return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}
EXPORT(ackermann_without_end) { return (int)ackermann(4, 3); }

EXPORT(heap) {
  for (;;) {
    unsigned long before = __builtin_wasm_memory_grow(0, 16);
    if (before == (unsigned long)-1) __builtin_trap();
    __builtin_memset((void *)(before * 65536), 0xa5, 16 * 65536);
  }
}

EXPORT(spin) {
  for (;;) sink++;
}

/* A pointer that was written over. */
static int harmless(int value) { return value; }
static int (*volatile target)(int) = harmless;
EXPORT(wild_pointer) {
  target = (int (*)(int))0x41414141;
  return target(1);
}
static double other(double value) { return value; }
static double (*volatile kept)(double) = other;
EXPORT(pointer_of_other_type) {
  target = (int (*)(int))kept;
  return target(1);
}
EXPORT(write_everywhere) {
  for (volatile unsigned char *at = (unsigned char *)16;; at += 4096) *at = 1;
}
