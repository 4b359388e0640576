/// Wick from C, and from every language that can call C: load a model, attach adapters, generate, train, save.
///
/// Functions that can fail return a wick_status, and wick_last_error() then has the message. A failure changes nothing,
/// and no function ends the program or prints. An argument is never NULL unless it says so.
///
/// Text is UTF-8 and ends with a zero byte. A handle is freed once, and not used after that; NULL is no handle, but may be
/// freed. A model and its trainers are used by one thread at a time.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What went wrong, for callers that branch.
typedef enum wick_status {
  WICK_OK = 0,
  WICK_ERROR_SHAPE = 1,   ///< sizes do not fit: an adapter of another model
  WICK_ERROR_DTYPE = 2,   ///< a data type is not allowed here
  WICK_ERROR_DEVICE = 3,  ///< a device is absent
  WICK_ERROR_ARGUMENT =
      4,  ///< NULL, a value out of range, an unknown name, a call at the wrong time
  WICK_ERROR_UNSUPPORTED = 5,  ///< valid, but Wick does not compute it
  WICK_ERROR_OUT_OF_MEMORY = 6,
  WICK_ERROR_BACKEND = 7,   ///< a device or a vendor's library failed
  WICK_ERROR_IO = 8,        ///< a file could not be read or written
  WICK_ERROR_PARSE = 9,     ///< the content of a file breaks its format
  WICK_ERROR_INTERNAL = 10  ///< a mistake of Wick's own, or an exception thrown through a callback
} wick_status;

/// The message of this thread's last failure; "" before the first. Valid until this thread's next failure.
const char* wick_last_error(void);

/// The library's version, like "1.2.3".
const char* wick_version(void);

/// A decoder with its tokenizer and adapters.
typedef struct wick_model wick_model;

/// Loads a folder in Hugging Face's layout: config.json, safetensors, tokenizer.json. On success *model is given to
/// wick_model_free() one day; on failure it is NULL. Fails with WICK_ERROR_IO, _PARSE, _UNSUPPORTED, and with _ARGUMENT or
/// _SHAPE naming the tensors that are missing, extra or misshapen.
wick_status wick_model_load(const char* folder, wick_model** model);

/// Frees a model; NULL is allowed. Its trainers stay valid.
void wick_model_free(wick_model* model);

/// Reads a PEFT adapter folder under a name that is not in use. It takes part once it is activated. Fails with
/// WICK_ERROR_IO, _PARSE, _UNSUPPORTED, and with _SHAPE or _ARGUMENT when it is not for this model.
wick_status wick_adapter_load(wick_model* model, const char* name, const char* folder);

/// Makes a fresh adapter of rank r under a name that is not in use, on the layers that `target_modules` names: suffixes
/// separated by commas ("q_proj,v_proj"), "all-linear", or NULL for PEFT's default. It takes part once it is activated.
/// Fails with WICK_ERROR_ARGUMENT, also when one of the suffixes names no layer.
wick_status wick_adapter_create(wick_model* model, const char* name, int64_t r, double lora_alpha,
                                const char* target_modules, uint64_t seed);

/// Makes one adapter take part, and no other; with NULL as its name the base model runs alone. Fails with
/// WICK_ERROR_ARGUMENT for an unknown name.
wick_status wick_adapter_activate(wick_model* model, const char* name);

/// Writes an adapter as a PEFT folder, which is made when it is absent. Fails with WICK_ERROR_ARGUMENT for an unknown name,
/// and with WICK_ERROR_IO.
wick_status wick_adapter_save(const wick_model* model, const char* name, const char* folder);

/// Forgets an adapter, active or not. Fails with WICK_ERROR_ARGUMENT for an unknown name.
wick_status wick_adapter_remove(wick_model* model, const char* name);

/// How text is generated. Begin with wick_generate_defaults(), so that fields to come have their defaults too.
typedef struct wick_generate_options {
  int64_t max_new_tokens;
  double temperature;         ///< 0: the most likely token
  int64_t top_k;              ///< 0: all
  double top_p;               ///< 1: all
  double min_p;               ///< 0: all
  double repetition_penalty;  ///< 1: none
  double presence_penalty;    ///< 0: none
  double frequency_penalty;   ///< 0: none
  uint64_t seed;
  const char* stop;  ///< text that ends the result and is not part of it; NULL: none
} wick_generate_options;

/// 256 tokens, the most likely ones, without penalties or a stop text.
wick_generate_options wick_generate_defaults(void);

/// Gets a piece of text: whole UTF-8 characters, never empty, never taken back. Returning 0 ends the generation.
typedef int (*wick_text_callback)(const char* text, void* user);

/// Continues a prompt; the text goes to the callback piece by piece, with `user`, which may be NULL. That the callback ended
/// it is no failure. Fails with WICK_ERROR_ARGUMENT for a prompt without tokens or longer than the model's context, and
/// for options out of range.
wick_status wick_generate(const wick_model* model, const char* prompt,
                          const wick_generate_options* options, wick_text_callback on_text,
                          void* user);

/// Trains one adapter of a model, step by step.
typedef struct wick_trainer wick_trainer;

/// AdamW, without weight decay, on the adapter `name`. Texts longer than max_seq_length tokens are split. On success *trainer
/// is given to wick_trainer_free() one day; on failure it is NULL. Fails with WICK_ERROR_ARGUMENT for an unknown name, a
/// learning rate that is negative or not finite, and a length outside of 2 … the model's context.
wick_status wick_trainer_create(wick_model* model, const char* name, double learning_rate,
                                int64_t max_seq_length, wick_trainer** trainer);

/// Frees a trainer, before its model or after; NULL is allowed. The adapter stays as it was trained.
void wick_trainer_free(wick_trainer* trainer);

/// One step on `count` texts as one batch; the adapter is activated for it. *loss is the mean over their tokens before the
/// step. Fails with WICK_ERROR_ARGUMENT for no texts, an empty one or one that is not UTF-8, an adapter that was removed, and
/// a loss that is not finite: nothing was updated then.
wick_status wick_train_step(wick_trainer* trainer, const char* const* texts, int64_t count,
                            double* loss);

#ifdef __cplusplus
}
#endif
