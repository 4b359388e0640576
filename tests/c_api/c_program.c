#include "c_api/c_program.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "wick/wick.h"

#define SAID 4096

static char failure[8192];

/* Leaves the calling function with the place and the last message when something does not hold. */
#define EXPECT(holds)                                                                      \
  do {                                                                                     \
    if (!(holds)) {                                                                        \
      snprintf(failure, sizeof failure, "line %d: not so: %s; the last message is \"%s\"", \
               __LINE__, #holds, wick_last_error());                                       \
      return failure;                                                                      \
    }                                                                                      \
  } while (0)

/* A call fails with this status and a message that has this text. */
#define EXPECT_FAILURE(call, status, text)             \
  do {                                                 \
    EXPECT((call) == (status));                        \
    EXPECT(strstr(wick_last_error(), (text)) != NULL); \
  } while (0)

static const char* const kTexts[] = {"the cat sat on the mat", "the dog sat on the log",
                                     "the fox sat on the box"};
enum { kNumTexts = 3 };

/* What a callback was given; it ends the generation after `most` pieces. */
struct said {
  char text[SAID];
  size_t size;
  int pieces;
  int most;
};

static int hear(const char* text, void* user) {
  struct said* said = user;
  const size_t size = strlen(text);
  if (size == 0 || said->size + size >= SAID) return 0;
  memcpy(said->text + said->size, text, size + 1);
  said->size += size;
  return ++said->pieces < said->most;
}

static wick_status say(const wick_model* model, const char* prompt, int most, struct said* said) {
  wick_generate_options options = wick_generate_defaults();
  options.max_new_tokens = 24;
  memset(said, 0, sizeof *said);
  said->most = most;
  return wick_generate(model, prompt, &options, hear, said);
}

const char* c_trains_saves_and_loads(const char* folder, const char* saved) {
  wick_model* model = NULL;
  wick_trainer* trainer = NULL;
  struct said before, after, again;
  double first = 0, last = 0;
  int step;

  EXPECT(wick_model_load(folder, &model) == WICK_OK);
  EXPECT(model != NULL);
  EXPECT(say(model, "the cat", 1000, &before) == WICK_OK);

  EXPECT(wick_adapter_create(model, "cats", 8, 16.0, "all-linear", 7) == WICK_OK);
  EXPECT(wick_trainer_create(model, "cats", 2e-2, 64, &trainer) == WICK_OK);
  for (step = 0; step < 30; ++step) {
    EXPECT(wick_train_step(trainer, kTexts, kNumTexts, &last) == WICK_OK);
    EXPECT(isfinite(last));
    if (step == 0) first = last;
  }
  EXPECT(last < 0.5 * first);
  EXPECT(say(model, "the cat", 1000, &after) == WICK_OK);
  EXPECT(strcmp(after.text, before.text) != 0);
  EXPECT(strstr(after.text, "sat on the") != NULL);

  EXPECT(wick_adapter_save(model, "cats", saved) == WICK_OK);
  EXPECT(wick_adapter_load(model, "others", saved) == WICK_OK);
  EXPECT(wick_adapter_activate(model, NULL) == WICK_OK);
  EXPECT(say(model, "the cat", 1000, &again) == WICK_OK);
  EXPECT(strcmp(again.text, before.text) == 0);
  EXPECT(wick_adapter_activate(model, "others") == WICK_OK);
  EXPECT(say(model, "the cat", 1000, &again) == WICK_OK);
  EXPECT(strcmp(again.text, after.text) == 0);

  wick_trainer_free(trainer);
  wick_model_free(model);
  return NULL;
}

const char* c_streams_and_cancels(const char* folder) {
  wick_model* model = NULL;
  wick_generate_options options = wick_generate_defaults();
  struct said whole, cut, drawn, drawn_again;

  EXPECT(options.max_new_tokens == 256);
  EXPECT(options.temperature == 0 && options.top_k == 0 && options.top_p == 1);
  EXPECT(options.min_p == 0 && options.repetition_penalty == 1 && options.presence_penalty == 0);
  EXPECT(options.frequency_penalty == 0 && options.seed == 0 && options.stop == NULL);

  EXPECT(wick_model_load(folder, &model) == WICK_OK);
  EXPECT(say(model, "the", 1000, &whole) == WICK_OK);
  EXPECT(whole.pieces > 3);
  EXPECT(say(model, "the", 2, &cut) == WICK_OK);
  EXPECT(cut.pieces == 2);
  EXPECT(cut.size < whole.size);
  EXPECT(strncmp(cut.text, whole.text, cut.size) == 0);

  options.max_new_tokens = 20;
  options.temperature = 1.5;
  options.top_k = 200;
  options.top_p = 0.99;
  options.min_p = 0.001;
  options.repetition_penalty = 1.2;
  options.presence_penalty = 0.1;
  options.frequency_penalty = 0.1;
  options.seed = 5;
  memset(&drawn, 0, sizeof drawn);
  drawn.most = 1000;
  drawn_again = drawn;
  EXPECT(wick_generate(model, "the", &options, hear, &drawn) == WICK_OK);
  EXPECT(wick_generate(model, "the", &options, hear, &drawn_again) == WICK_OK);
  EXPECT(strcmp(drawn.text, drawn_again.text) == 0);
  EXPECT(strcmp(drawn.text, whole.text) != 0);

  /* The second piece of the whole text as a stop text: what comes before it remains. */
  options = wick_generate_defaults();
  options.max_new_tokens = 24;
  options.stop = cut.text;
  memset(&drawn, 0, sizeof drawn);
  drawn.most = 1000;
  EXPECT(wick_generate(model, "the", &options, hear, &drawn) == WICK_OK);
  EXPECT(drawn.size == 0);
  wick_model_free(model);
  return NULL;
}

const char* c_frees_in_any_order(const char* folder) {
  wick_model* model = NULL;
  wick_trainer* first = NULL;
  wick_trainer* second = NULL;
  double loss = 0, next = 0;

  wick_model_free(NULL);
  wick_trainer_free(NULL);
  EXPECT(wick_model_load(folder, &model) == WICK_OK);
  EXPECT(wick_adapter_create(model, "a", 2, 4.0, NULL, 1) == WICK_OK);
  EXPECT(wick_adapter_create(model, "b", 2, 4.0, " q_proj, v_proj ", 1) == WICK_OK);
  EXPECT(wick_trainer_create(model, "a", 1e-2, 64, &first) == WICK_OK);
  EXPECT(wick_trainer_create(model, "b", 1e-2, 64, &second) == WICK_OK);
  wick_model_free(model);
  /* In turns: each step activates its own adapter. */
  EXPECT(wick_train_step(first, kTexts, kNumTexts, &loss) == WICK_OK);
  EXPECT(wick_train_step(second, kTexts, kNumTexts, &next) == WICK_OK);
  EXPECT(loss == next); /* both adapters have changed nothing so far */
  EXPECT(wick_train_step(first, kTexts, kNumTexts, &next) == WICK_OK);
  EXPECT(next < loss);
  wick_trainer_free(first);
  EXPECT(wick_train_step(second, kTexts, 1, &next) == WICK_OK);
  wick_trainer_free(second);
  return NULL;
}

const char* c_refuses_null(const char* folder) {
  wick_model* model = NULL;
  wick_model* none = NULL;
  wick_trainer* trainer = NULL;
  const wick_generate_options options = wick_generate_defaults();
  const char* const texts[] = {"one", NULL};
  struct said said;
  double loss = 0;
  const wick_status refused = WICK_ERROR_ARGUMENT;
  memset(&said, 0, sizeof said);

  EXPECT_FAILURE(wick_model_load(NULL, &none), refused, "wick_model_load: folder is NULL");
  EXPECT_FAILURE(wick_model_load(folder, NULL), refused, "model is NULL");
  EXPECT(wick_model_load(folder, &model) == WICK_OK);
  EXPECT_FAILURE(wick_adapter_load(NULL, "a", folder), refused, "wick_adapter_load: model is NULL");
  EXPECT_FAILURE(wick_adapter_load(model, NULL, folder), refused, "name is NULL");
  EXPECT_FAILURE(wick_adapter_load(model, "a", NULL), refused, "folder is NULL");
  EXPECT_FAILURE(wick_adapter_create(NULL, "a", 2, 4, NULL, 0), refused, "model is NULL");
  EXPECT_FAILURE(wick_adapter_create(model, NULL, 2, 4, NULL, 0), refused, "name is NULL");
  EXPECT_FAILURE(wick_adapter_activate(NULL, "a"), refused, "model is NULL");
  EXPECT_FAILURE(wick_adapter_save(NULL, "a", folder), refused, "model is NULL");
  EXPECT_FAILURE(wick_adapter_save(model, NULL, folder), refused, "name is NULL");
  EXPECT_FAILURE(wick_adapter_save(model, "a", NULL), refused, "folder is NULL");
  EXPECT_FAILURE(wick_adapter_remove(NULL, "a"), refused, "model is NULL");
  EXPECT_FAILURE(wick_adapter_remove(model, NULL), refused, "name is NULL");
  EXPECT_FAILURE(wick_generate(NULL, "x", &options, hear, &said), refused, "model is NULL");
  EXPECT_FAILURE(wick_generate(model, NULL, &options, hear, &said), refused, "prompt is NULL");
  EXPECT_FAILURE(wick_generate(model, "x", NULL, hear, &said), refused, "options is NULL");
  EXPECT_FAILURE(wick_generate(model, "x", &options, NULL, &said), refused, "on_text is NULL");
  EXPECT(wick_adapter_create(model, "a", 2, 4, NULL, 0) == WICK_OK);
  EXPECT_FAILURE(wick_trainer_create(NULL, "a", 1, 64, &trainer), refused, "model is NULL");
  EXPECT_FAILURE(wick_trainer_create(model, NULL, 1, 64, &trainer), refused, "name is NULL");
  EXPECT_FAILURE(wick_trainer_create(model, "a", 1, 64, NULL), refused, "trainer is NULL");
  EXPECT(wick_trainer_create(model, "a", 1, 64, &trainer) == WICK_OK);
  EXPECT_FAILURE(wick_train_step(NULL, texts, 1, &loss), refused, "trainer is NULL");
  EXPECT_FAILURE(wick_train_step(trainer, NULL, 1, &loss), refused, "texts is NULL");
  EXPECT_FAILURE(wick_train_step(trainer, texts, 1, NULL), refused, "loss is NULL");
  EXPECT_FAILURE(wick_train_step(trainer, texts, 2, &loss), refused, "text 1 is NULL");
  wick_trainer_free(trainer);
  wick_model_free(model);
  return NULL;
}

const char* c_refuses_arguments(const char* folder) {
  wick_model* model = NULL;
  wick_trainer* trainer = NULL;
  wick_generate_options options = wick_generate_defaults();
  const char* const broken[] = {"caf\xC3"};
  const char* const empty[] = {"one", ""};
  struct said said;
  double loss = -1;
  const wick_status refused = WICK_ERROR_ARGUMENT;
  memset(&said, 0, sizeof said);

  EXPECT(wick_model_load(folder, &model) == WICK_OK);
  EXPECT_FAILURE(wick_adapter_activate(model, "x"), refused, "no adapter is named \"x\"");
  EXPECT_FAILURE(wick_adapter_save(model, "x", "/nowhere"), refused, "no adapter is named \"x\"");
  EXPECT_FAILURE(wick_adapter_remove(model, "x"), refused, "no adapter is named \"x\"");
  EXPECT_FAILURE(wick_adapter_create(model, "x", 0, 4, NULL, 0), refused, "r must be at least 1");
  EXPECT_FAILURE(wick_adapter_create(model, "x", 2, NAN, NULL, 0), refused, "lora_alpha");
  EXPECT_FAILURE(wick_adapter_create(model, "x", 2, 4, "q_proj,v_prj", 0), refused,
                 "\"v_prj\" names no layer");
  EXPECT_FAILURE(wick_adapter_create(model, "x", 2, 4, "nothing", 0), refused, "nothing");
  EXPECT(wick_adapter_create(model, "x", 2, 4, NULL, 0) == WICK_OK);
  EXPECT_FAILURE(wick_adapter_create(model, "x", 2, 4, NULL, 0), refused, "named \"x\" already");
  EXPECT_FAILURE(wick_adapter_save(model, "x", "/dev/null/x"), WICK_ERROR_IO, "/dev/null");
  EXPECT_FAILURE(wick_adapter_load(model, "y", "/nowhere"), WICK_ERROR_IO, "/nowhere");

  EXPECT_FAILURE(wick_generate(model, "", &options, hear, &said), refused, "empty");
  EXPECT_FAILURE(wick_generate(model, "\xFF", &options, hear, &said), refused, "UTF-8");
  options.max_new_tokens = 0;
  EXPECT_FAILURE(wick_generate(model, "x", &options, hear, &said), refused, "max_new_tokens");
  options = wick_generate_defaults();
  options.top_p = 2;
  EXPECT_FAILURE(wick_generate(model, "x", &options, hear, &said), refused, "top_p");
  options = wick_generate_defaults();
  options.stop = "";
  EXPECT_FAILURE(wick_generate(model, "x", &options, hear, &said), refused,
                 "stop string 0 is empty");
  EXPECT(said.pieces == 0);

  EXPECT_FAILURE(wick_trainer_create(model, "z", 1, 64, &trainer), refused,
                 "no adapter is named \"z\"");
  EXPECT_FAILURE(wick_trainer_create(model, "x", -1, 64, &trainer), refused, "learning_rate");
  EXPECT_FAILURE(wick_trainer_create(model, "x", NAN, 64, &trainer), refused, "learning_rate");
  EXPECT_FAILURE(wick_trainer_create(model, "x", 1, 1, &trainer), refused,
                 "max_seq_length must be in [2, 128]");
  EXPECT_FAILURE(wick_trainer_create(model, "x", 1, 129, &trainer), refused, "got 129");
  EXPECT(trainer == NULL);
  EXPECT(wick_trainer_create(model, "x", 1e-2, 64, &trainer) == WICK_OK);
  EXPECT_FAILURE(wick_train_step(trainer, kTexts, 0, &loss), refused,
                 "count must be at least 1, got 0");
  EXPECT_FAILURE(wick_train_step(trainer, kTexts, -1, &loss), refused, "got -1");
  EXPECT(wick_train_step(trainer, broken, 1, &loss) != WICK_OK);
  EXPECT(strstr(wick_last_error(), "UTF-8") != NULL);
  EXPECT(wick_train_step(trainer, empty, 2, &loss) != WICK_OK);
  EXPECT(loss == -1);
  EXPECT(wick_adapter_remove(model, "x") == WICK_OK);
  EXPECT_FAILURE(wick_train_step(trainer, kTexts, 1, &loss), refused, "no adapter is named \"x\"");
  EXPECT(wick_adapter_create(model, "x", 2, 4, NULL, 0) == WICK_OK);
  EXPECT_FAILURE(wick_train_step(trainer, kTexts, 1, &loss), refused, "another adapter");
  wick_trainer_free(trainer);
  wick_model_free(model);
  return NULL;
}

static int show(const char* text, void* user) {
  return fputs(text, user) >= 0; /* 0 would end it */
}

void c_of_the_generation_page(void) {
  wick_model* model = NULL;
  wick_generate_options options = wick_generate_defaults();
  options.temperature = 0.8;
  if (wick_model_load("DIR", &model) != WICK_OK ||
      wick_generate(model, "Once upon a time", &options, show, stdout) != WICK_OK) {
    fprintf(stderr, "%s\n", wick_last_error());
  }
  wick_model_free(model);
}
