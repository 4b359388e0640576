#pragma once

// For what handles every kernel alike (the null backend, tables): ops include only their own args.

#include "runtime/args/attention_args.hpp"
#include "runtime/args/cross_entropy_args.hpp"
#include "runtime/args/decode_attention_args.hpp"
#include "runtime/args/dora_gain_args.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/embedding_args.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/args/matmul_args.hpp"
#include "runtime/args/norm_args.hpp"
#include "runtime/args/optimizer_args.hpp"
#include "runtime/args/random_args.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/args/rope_args.hpp"
#include "runtime/args/softmax_args.hpp"
