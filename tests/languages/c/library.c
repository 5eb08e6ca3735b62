// What the bindings use of a C library.
#include <stdlib.h>
#include <string.h>

#include "arena.h"

// Memory is handed out from one block and never taken back: the host sees to it that each call starts with all of it.
uint8_t arena[ARENA_BYTES];
size_t used;

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
  for (size_t i = 0; i < length; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
  return to;
}

int memcmp(const void *left, const void *right, size_t length) {
  const uint8_t *a = left, *b = right;
  for (size_t i = 0; i < length; i++) if (a[i] != b[i]) return a[i] - b[i];
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

void abort(void) { __builtin_trap(); }

void *malloc(size_t size) {
  size_t start = (used + 7) & ~(size_t)7;
  if (size > sizeof arena - start) abort();
  used = start + size;
  return arena + start;
}

void *realloc(void *old, size_t size) {
  void *new = malloc(size);
  // Only the bindings ask, and only for new memory.
  if (old) abort();
  return new;
}

void free(void *memory) { (void)memory; }

void *memset(void *to, int byte, size_t length) {
  for (size_t i = 0; i < length; i++) ((uint8_t *)to)[i] = (uint8_t)byte;
  return to;
}
