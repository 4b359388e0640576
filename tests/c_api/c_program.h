/* A program in C, cut into parts that the tests call. Each returns NULL when all went well, else what did not. */
#ifndef WICK_TESTS_C_PROGRAM_H
#define WICK_TESTS_C_PROGRAM_H

#ifdef __cplusplus
extern "C" {
#endif

/* Trains an adapter, saves it in `saved`, loads it under another name: it says the same. */
const char* c_trains_saves_and_loads(const char* folder, const char* saved);
/* What the callback gets, and how it ends a generation. */
const char* c_streams_and_cancels(const char* folder);
/* The model is freed before its trainers. */
const char* c_frees_in_any_order(const char* folder);
/* NULL for every argument of every function. */
const char* c_refuses_null(const char* folder);
/* Names that are not there or not free, and values out of range. */
const char* c_refuses_arguments(const char* folder);
/* The snippets of docs/generation.md. */
void c_of_the_generation_page(void);

#ifdef __cplusplus
}
#endif

#endif
