#include "backends/mps/kernels/philox_kargs.hpp"

// Philox4x32-10: the random numbers that every device draws alike (base/philox.hpp).

// The words of elements [4 counter, 4 counter + 4).
inline uint4 philox_words(constant wick::mps::RandomKey& key, device const long* offset_base,
                          ulong counter) {
  ulong count = ulong(key.offset) + counter;
  if (key.has_offset_base != 0) count += ulong(offset_base[0]);
  uint4 c = uint4(uint(count), uint(count >> 32), 0u, 0u);
  uint k0 = key.words[0];
  uint k1 = key.words[1];
  for (uint round = 0; round < 10; ++round) {
    const uint first_low = 0xD2511F53u * c.x;
    const uint first_high = mulhi(0xD2511F53u, c.x);
    const uint second_low = 0xCD9E8D57u * c.z;
    const uint second_high = mulhi(0xCD9E8D57u, c.z);
    c = uint4(second_high ^ c.y ^ k0, second_low, first_high ^ c.w ^ k1, first_low);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// The 24 bits of a word that make its uniform number.
inline uint uniform_bits(uint word) { return word >> 8; }

// What dropout leaves of a value. Selected, not multiplied by 0: what is dropped is zero even where it was infinite.
inline float kept(constant wick::mps::DropoutRule& rule, uint word, float x) {
  return uniform_bits(word) >= rule.threshold ? x * rule.factor : 0.0f;
}
