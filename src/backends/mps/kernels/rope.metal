#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/rope_kargs.hpp"

using namespace wick::mps;

constant uint kDType [[function_constant(0)]];         // of x and out
constant uint kPositionType [[function_constant(1)]];  // kI32 or kI64

// x [B,T,H,Dh], out dense. A thread of the grid [P + tail, B·T] owns a pair, or an element behind the rotated part, of all
// heads of a token: the rotation is computed once.
kernel void rope(device const uchar* x [[buffer(0)]], device const uchar* positions [[buffer(1)]],
                 device const float* inv_freq [[buffer(2)]], device uchar* out [[buffer(3)]],
                 constant RopeKargs& args [[buffer(4)]], uint2 at [[thread_position_in_grid]]) {
  const ulong b = ulong(at.y) / ulong(args.tokens_each);
  const ulong t = ulong(at.y) % ulong(args.tokens_each);
  ulong from = ulong(long(b) * args.x_batch + long(t) * args.x_token);
  ulong to = ulong(at.y) * ulong(args.heads) * ulong(args.width);
  const uint pairs = uint(args.pairs);
  if (at.x >= pairs) {
    const uint column = at.x + pairs;
    for (int head = 0; head < args.heads; ++head) {
      store_float(out, to + column, kDType, load_float(x, from + column, kDType));
      from += ulong(args.x_head);
      to += ulong(args.width);
    }
    return;
  }
  const long place = long(b) * args.position_batch + long(t) * args.position_token;
  // The angle is rounded to f32, as models were trained with such angles; the position is not, however large.
  const long position = load_integer(positions, ulong(place), kPositionType);
  const float nearest = float(position);
  const float rest = float(position - long(nearest));
  const float angle = fma(nearest, inv_freq[at.x], rest * inv_freq[at.x]);
  const float cosine = args.factor * precise::cos(angle);
  const float sine = args.factor * args.sign * precise::sin(angle);
  for (int head = 0; head < args.heads; ++head) {
    const float first = load_float(x, from + at.x, kDType);
    const float second = load_float(x, from + at.x + pairs, kDType);
    store_float(out, to + at.x, kDType, fma(-second, sine, first * cosine));
    store_float(out, to + at.x + pairs, kDType, fma(first, sine, second * cosine));
    from += ulong(args.x_head);
    to += ulong(args.width);
  }
}
