// What a user of the bindings alone writes first: a product of two matrices by Metal Performance Shaders.
#include <array>
#include <cstdio>
#include <cstring>

#include "wick/apple/mps.hpp"

int main() {
  namespace metal = wick::apple::metal;
  namespace mps = wick::apple::mps;
  const auto device = metal::Device::system_default();
  if (!device) {
    std::puts("there is no GPU");
    return 1;
  }
  const std::array<float, 6> left{1, 2, 3, 4, 5, 6}, right{7, 8, 9, 10, 11, 12};
  const mps::Matrix a(device->buffer(std::as_bytes(std::span(left))),
                      mps::MatrixDescriptor({.rows = 2, .columns = 3}));
  const mps::Matrix b(device->buffer(std::as_bytes(std::span(right))),
                      mps::MatrixDescriptor({.rows = 3, .columns = 2}));
  const metal::Buffer memory = device->buffer(4 * sizeof(float));
  const mps::Matrix c(memory, mps::MatrixDescriptor({.rows = 2, .columns = 2}));

  metal::CommandBuffer buffer = device->queue().command_buffer();
  mps::MatrixMultiplication(*device, 2, 2, 3).encode(buffer, a, b, c);
  buffer.commit();
  buffer.wait();

  std::array<float, 4> product{};
  std::memcpy(product.data(), memory.contents(), sizeof(product));
  std::printf("%s: %g %g %g %g\n", device->name().c_str(), product[0], product[1], product[2],
              product[3]);
  return product == std::array<float, 4>{58, 64, 139, 154} ? 0 : 1;
}
