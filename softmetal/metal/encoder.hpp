#pragma once

#include <array>
#include <string>
#include <vector>

#include "softmetal/metal/device.hpp"
#include "softmetal/metal/gpu.hpp"
#include "softmetal/metal/shader.hpp"
#include "softmetal/objc/class_builder.hpp"

// Command encoders.

namespace softmetal {

class EncoderState : public State {
 public:
  explicit EncoderState(CommandBufferState& buffer);
  ~EncoderState() override;

  Hold<CommandBufferState> buffer;
  std::string label;

  /// A fault after endEncoding.
  void check_open() const;
  virtual void end();

 private:
  bool ended_ = false;
};

class BlitEncoderState final : public EncoderState {
 public:
  using EncoderState::EncoderState;
};

/// What is bound to one index of a compute encoder.
struct Binding {
  Hold<BufferState> buffer;
  std::uint64_t offset = 0;
  std::vector<std::byte> inline_bytes;
};

class ComputeEncoderState final : public EncoderState {
 public:
  ComputeEncoderState(CommandBufferState& of, std::uint64_t type)
      : EncoderState(of), dispatch_type(type) {}
  const std::uint64_t dispatch_type;
  Hold<PipelineState> pipeline;
  std::array<Binding, limits::kBuffers> bindings;
  std::array<std::uint64_t, limits::kBuffers> threadgroup_bytes{};

  /// Those of a concurrent encoder keep to no order between two barriers: a seed other than 0 chooses one.
  void add_dispatch(Work work) { dispatches_.push_back(std::move(work)); }
  void barrier();
  void end() override;

 private:
  std::vector<Work> dispatches_;  // since the last barrier
};

/// +0, autoreleased.
Object* make_blit_encoder(CommandBufferState& buffer);
Object* make_compute_encoder(CommandBufferState& buffer, std::uint64_t dispatch_type);
void register_encoders();

}  // namespace softmetal
