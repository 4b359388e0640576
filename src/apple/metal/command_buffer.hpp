#pragma once

#include <memory>
#include <utility>

#include "apple/objc/tags.hpp"
#include "wick/apple/metal.hpp"

namespace wick::apple::metal::detail {

/// What a command buffer and its open encoder share.
struct CommandBufferState {
  Ref<objc::MTLCommandBuffer> object;
  bool committed = false;
  bool encoder_open = false;
};

/// An encoder that has not ended.
class OpenEncoder {
 public:
  OpenEncoder(std::shared_ptr<CommandBufferState> buffer, Ref<objc::MTLCommandEncoder> encoder)
      : buffer_(std::move(buffer)), encoder_(std::move(encoder)) {
    buffer_->encoder_open = true;
  }
  ~OpenEncoder();
  OpenEncoder(const OpenEncoder&) = delete;
  OpenEncoder& operator=(const OpenEncoder&) = delete;

  /// The encoder as the kind that it was made as.
  template <class Encoder>
  Encoder* as() const {
    return static_cast<Encoder*>(encoder_.get());
  }

 private:
  std::shared_ptr<CommandBufferState> buffer_;
  Ref<objc::MTLCommandEncoder> encoder_;
};

/// Throws Error kArgument on Metal's thread while a handler of CommandBuffer::on_completed() runs.
void check_outside_handlers(std::string_view op);

/// Throws Error kArgument when the encoder was ended.
const OpenEncoder& check_open(const std::unique_ptr<OpenEncoder>& open, std::string_view op);

}  // namespace wick::apple::metal::detail
