#include "backends/cuda/launch.cuh"
