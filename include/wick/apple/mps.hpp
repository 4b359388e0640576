#pragma once

/// All of Metal Performance Shaders' matrix kernels.
#include "wick/apple/mps/matrix.hpp"
#include "wick/apple/mps/products.hpp"
#include "wick/apple/mps/rows.hpp"
