// Σ x² and its root in f32 for numbers whose squares f32 does not hold: the sums of three ranges of magnitude, each scaled
// by a power of two that keeps it far from overflow and underflow. x: |x| > 2^48, times 2^-80. y: the middle, and NaN. z: |x| <
// 2^-48, times 2^96.

constant constexpr float k2To48 = 281474976710656.0f;
constant constexpr float k2ToMinus48 = 3.5527136788005009e-15f;
constant constexpr float k2To80 = 1.2089258196146292e24f;
constant constexpr float k2ToMinus80 = 8.2718061255302767e-25f;
constant constexpr float k2To96 = 7.9228162514264338e28f;
constant constexpr float k2ToMinus96 = 1.2621774483536189e-29f;

inline void add_square(thread float3& sums, float x) {
  const float size = fabs(x);
  if (size > k2To48) {
    sums.x = fma(x * k2ToMinus80, x * k2ToMinus80, sums.x);
  } else if (size < k2ToMinus48) {
    sums.z = fma(x * k2To96, x * k2To96, sums.z);
  } else {
    sums.y = fma(x, x, sums.y);
  }
}

inline float root_of_squares(float3 sums) {
  if (sums.x > 0.0f) return sqrt(fma(sums.y * k2ToMinus80, k2ToMinus80, sums.x)) * k2To80;
  if (sums.y == 0.0f) return sqrt(sums.z) * k2ToMinus96;
  return sqrt(fma(sums.z * k2ToMinus96, k2ToMinus96, sums.y));
}
