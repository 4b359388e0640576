/* Wick from C: loads a checkpoint, trains an adapter on a few texts, generates before and after, and saves the adapter.
 *
 *   embed_c <checkpoint folder> <folder for the adapter>
 */
#include <stdio.h>
#include <stdlib.h>

#include "wick/wick.h"

static const char* const kTexts[] = {
    "optimist (noun): One who has lent you a book and waits.",
    "pessimist (noun): One who has lent you a book before.",
    "library (noun): A house where the books wait for their readers.",
};

/* Every call that can fail says so by its status; the message is kept for us. */
static void check(wick_status status) {
  if (status == WICK_OK) return;
  fprintf(stderr, "error %d: %s\n", status, wick_last_error());
  exit(1);
}

static int show(const char* text, void* user) {
  (void)user;
  fputs(text, stdout);
  fflush(stdout);
  return 1; /* 0 would end it */
}

static void generate(const wick_model* model) {
  wick_generate_options options = wick_generate_defaults();
  const char* prompt = "optimist (noun):";
  options.max_new_tokens = 24;
  fputs(prompt, stdout);
  check(wick_generate(model, prompt, &options, show, NULL));
  putchar('\n');
}

int main(int argc, char** argv) {
  wick_model* model = NULL;
  wick_trainer* trainer = NULL;
  double loss = 0;
  int step;

  if (argc != 3) {
    fprintf(stderr, "usage: embed_c <checkpoint folder> <folder for the adapter>\n");
    return 2;
  }
  check(wick_model_load(argv[1], &model));
  generate(model);

  check(wick_adapter_create(model, "wit", 8, 16, "all-linear", 1));
  check(wick_trainer_create(model, "wit", 1e-2, 128, &trainer));
  for (step = 1; step <= 10; ++step) {
    check(wick_train_step(trainer, kTexts, sizeof kTexts / sizeof *kTexts, &loss));
    printf("step %d  loss %g\n", step, loss);
  }
  generate(model);

  check(wick_adapter_save(model, "wit", argv[2]));
  wick_trainer_free(trainer);
  wick_model_free(model);
  return 0;
}
