/* Wick from C, and from every language that can call C: load a model, attach adapters, generate, train, save.
 *
 * Functions that can fail return a wick_status; wick_last_error() then has the message of this thread's last failure.
 * A handle may be used by one thread at a time. Text is UTF-8 and ends with a zero byte. */
#ifndef WICK_WICK_H
#define WICK_WICK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong, for callers that branch. */
typedef enum wick_status {
  WICK_OK = 0,
  WICK_ERROR_SHAPE = 1,
  WICK_ERROR_DTYPE = 2,
  WICK_ERROR_DEVICE = 3,
  WICK_ERROR_ARGUMENT = 4,
  WICK_ERROR_UNSUPPORTED = 5,
  WICK_ERROR_OUT_OF_MEMORY = 6,
  WICK_ERROR_BACKEND = 7,
  WICK_ERROR_IO = 8,
  WICK_ERROR_PARSE = 9,
  WICK_ERROR_INTERNAL = 10
} wick_status;

/* The message of this thread's last failure; "" before the first. Valid until this thread's next failure. */
const char* wick_last_error(void);
/* The library's version, "0.1.0". */
const char* wick_version(void);

/* A decoder with its tokenizer and adapters. */
typedef struct wick_model wick_model;

/* Loads a folder in Hugging Face's layout. On success *model must be given to wick_model_free(). */
wick_status wick_model_load(const char* folder, wick_model** model);
/* Frees a model; NULL is allowed. */
void wick_model_free(wick_model* model);

/* Reads a PEFT adapter folder under a name. */
wick_status wick_adapter_load(wick_model* model, const char* name, const char* folder);
/* Makes a fresh adapter of rank r on the layers that `target_modules` names: suffixes separated by commas, "all-linear", or
 * NULL for the model's default. */
wick_status wick_adapter_create(wick_model* model, const char* name, int64_t r, double lora_alpha,
                                const char* target_modules, uint64_t seed);
/* Makes one adapter take part; NULL runs the base model alone. */
wick_status wick_adapter_activate(wick_model* model, const char* name);
/* Writes an adapter as a PEFT folder. */
wick_status wick_adapter_save(const wick_model* model, const char* name, const char* folder);

/* How text is generated. Begin with wick_generate_defaults(). */
typedef struct wick_generate_options {
  int64_t max_new_tokens;
  double temperature; /* 0: the most likely token */
  int64_t top_k;      /* 0: all */
  double top_p;       /* 1: all */
  double min_p;
  double repetition_penalty; /* 1: none */
  uint64_t seed;
  const char* stop; /* text that ends the result, or NULL */
} wick_generate_options;

/* 256 tokens, greedy. */
wick_generate_options wick_generate_defaults(void);

/* Gets a piece of text: whole UTF-8 characters, never taken back. Returning 0 ends the generation. */
typedef int (*wick_text_callback)(const char* text, void* user);

/* Continues a prompt; the text goes to the callback piece by piece. */
wick_status wick_generate(const wick_model* model, const char* prompt,
                          const wick_generate_options* options, wick_text_callback on_text,
                          void* user);

/* Trains one adapter of a model, step by step. */
typedef struct wick_trainer wick_trainer;

/* AdamW on the adapter `name`, which is activated. The model must outlive the trainer. Free with wick_trainer_free(). */
wick_status wick_trainer_create(wick_model* model, const char* name, double learning_rate,
                                int64_t max_seq_length, wick_trainer** trainer);
/* Frees a trainer; NULL is allowed. The adapter stays as it was trained. */
void wick_trainer_free(wick_trainer* trainer);
/* One step on `count` texts; *loss is the mean over their tokens before the step. */
wick_status wick_train_step(wick_trainer* trainer, const char* const* texts, int64_t count,
                            double* loss);

#ifdef __cplusplus
}
#endif

#endif
