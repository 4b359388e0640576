#pragma once

#include "apple/objc/encoding.hpp"

// Structs that messages pass by value, laid out as on 64-bit Apple systems.

namespace wick::apple::objc {

struct MTLSize {
  UInteger width, height, depth;
};
/// In the matrix kernels of MPS `x` is the row and `y` the column.
struct MTLOrigin {
  UInteger x, y, z;
};
struct NSRange {
  UInteger location, length;
};
struct NSOperatingSystemVersion {
  Integer major, minor, patch;
};
struct MPSMatrixCopyOffsets {
  std::uint32_t source_row, source_column, destination_row, destination_column;
};
struct MPSDimensionSlice {
  UInteger start, length;
};

#define WICK_OBJC_STRUCT(name, encoding)                 \
  template <>                                            \
  struct StructEncoding<name> {                          \
    static constexpr auto value = FixedString(encoding); \
  }
WICK_OBJC_STRUCT(MTLSize, "{?=QQQ}");
WICK_OBJC_STRUCT(MTLOrigin, "{?=QQQ}");
WICK_OBJC_STRUCT(NSRange, "{_NSRange=QQ}");
WICK_OBJC_STRUCT(NSOperatingSystemVersion, "{?=qqq}");
WICK_OBJC_STRUCT(MPSMatrixCopyOffsets, "{?=IIII}");
WICK_OBJC_STRUCT(MPSDimensionSlice, "{MPSDimensionSlice=QQ}");
#undef WICK_OBJC_STRUCT

}  // namespace wick::apple::objc
