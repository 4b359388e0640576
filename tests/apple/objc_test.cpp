#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "apple/apple_test_support.hpp"
#include "apple/objc/block.hpp"
#include "apple/objc/foundation.hpp"
#include "apple/objc/message.hpp"
#include "apple/objc/method_check.hpp"
#include "apple/objc/structs.hpp"

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): the runtime's names
wick::apple::Object* objc_retain(wick::apple::Object* object);
void objc_release(wick::apple::Object* object);
void* objc_autoreleasePoolPush();
void objc_autoreleasePoolPop(void* pool);
// NOLINTEND(readability-identifier-naming)
}

namespace wick::test {
namespace {

using namespace apple;
using namespace apple::objc;

constexpr Message<NSObject, '-', "retainCount", UInteger()> retain_count;
constexpr Message<NSString, '+', "stringWithUTF8String:", NSString*(const char*)> string_with;
constexpr Message<NSString, '-', "UTF8String", const char*()> utf8;
constexpr Message<NSString, '-', "initWithBytes:length:encoding:",
                  Owned<NSString>(const void*, UInteger, UInteger)>
    with_bytes;
constexpr Message<NSString, '-', "lengthOfBytesUsingEncoding:", UInteger(UInteger)> length_of;
constexpr Message<NSArray, '-', "count", UInteger()> count;
constexpr Message<NSArray, '-', "objectAtIndex:", NSObject*(UInteger)> at;
constexpr Message<NSNumber, '+', "numberWithDouble:", NSNumber*(double)> number_with;
constexpr Message<NSNumber, '-', "doubleValue", double()> double_value;

static_assert(kMethodEncoding<void, MTLSize, std::uint8_t>.view() == "v@:{?=QQQ}C");
static_assert(kMethodEncoding<MTLBuffer*, const void*, UInteger, BlockPointer>.view() ==
              "@@:^vQ@?");
static_assert(kMethodEncoding<bool, NSError**, const char*, Selector*>.view() == "B@:^@*:");
static_assert(kMethodEncoding<float, double, std::int32_t, std::uint32_t, Integer>.view() ==
              "f@:diIq");
static_assert(find_selector("MTLDevice", '-', "newCommandQueue")->returns_owned());
static_assert(!find_selector("MTLCommandQueue", '-', "commandBuffer")->returns_owned());
static_assert(find_selector("MTLDevice", '+', "newCommandQueue") == nullptr);

class ObjcTest : public AppleTest {};

TEST_F(ObjcTest, EncodingsLoseOffsetsAndQualifiers) {
  EXPECT_EQ(normalised_encoding("v40@0:8r^v16Q24Q32"), "v@:^vQQ");
  EXPECT_EQ(normalised_encoding("{?=QQQ}16@0:8"), "{?=QQQ}@:");
  EXPECT_EQ(normalised_encoding("v36@0:8@16{_NSRange=QQ}24C40"), "v@:@{_NSRange=QQ}C");
  EXPECT_EQ(normalised_encoding("r^{A1=rq{nO=N^v}}8n*16"), "^{A1=q{nO=^v}}*");
  EXPECT_EQ(normalised_encoding(nullptr), "");
}

TEST_F(ObjcTest, EveryMethodOfTheSystemHasTheTypeOfTheTable) {
  std::map<MethodState, int> found;
  for (const MethodCheck& check : check_methods()) {
    ++found[check.state];
    EXPECT_NE(check.state, MethodState::kOther)
        << check.kind << "[" << check.owner << " " << check.selector << "] is " << check.found;
  }
  EXPECT_GT(found[MethodState::kSame], 250) << "softmetal has what Wick sends";
  EXPECT_EQ(found[MethodState::kSame] + found[MethodState::kMissing], std::size(kSelectorRows));
}

TEST_F(ObjcTest, AMethodIsLookedUpWithItsOwnerKindAndType) {
  const auto state_of = [](SelectorRow row) { return check_method(row).state; };
  EXPECT_EQ(state_of({"NSString", '-', "UTF8String", "none", "*@:"}), MethodState::kSame);
  EXPECT_EQ(state_of({"NSString", '+', "UTF8String", "none", "*@:"}), MethodState::kMissing);
  EXPECT_EQ(state_of({"NSString", '-', "UTF8String", "none", "^v@:"}), MethodState::kOther);
  EXPECT_EQ(check_method({"NSString", '-', "UTF8String", "none", "^v@:"}).found, "*@:");
  EXPECT_EQ(state_of({"NSString", '+', "stringWithUTF8String:", "none", "@@:*"}),
            MethodState::kSame);
  EXPECT_EQ(state_of({"NSString", '-', "fly", "none", "v@:"}), MethodState::kMissing);
  EXPECT_EQ(state_of({"NSBird", '-', "fly", "none", "v@:"}), MethodState::kMissing);
  // A protocol, in whose place softmetal has a class of another name.
  EXPECT_EQ(state_of({"MTLCommandBuffer", '-', "commit", "none", "v@:"}), MethodState::kSame);
  EXPECT_EQ(state_of({"MTLCommandBuffer", '-', "commit", "none", "B@:"}), MethodState::kOther);
}

TEST_F(ObjcTest, RefAdoptsRetainsMovesAndReleases) {
  const AutoreleaseScope scope;
  auto first = make_string("first");
  EXPECT_EQ(retain_count(first.get()), 1u);
  {
    const Ref<NSString> second = first;
    EXPECT_EQ(retain_count(first.get()), 2u);
    const auto third = Ref<NSString>::retain(second.get());
    EXPECT_EQ(retain_count(first.get()), 3u);
  }
  EXPECT_EQ(retain_count(first.get()), 1u);
  Ref<NSString> moved = std::move(first);
  EXPECT_EQ(retain_count(moved.get()), 1u);
  const Ref<NSString>& itself = moved;
  moved = itself;
  EXPECT_EQ(retain_count(moved.get()), 1u);
  auto adopted = Ref<NSString>::adopt(std::move(moved).leak());
  EXPECT_EQ(to_std_string(adopted.get()), "first");
  EXPECT_FALSE(Ref<NSString>());
}

TEST_F(ObjcTest, ScopesKeepWhatIsAutoreleasedAndNest) {
  const AutoreleaseScope outer;
  Ref<NSString> kept;
  const long before = softmetal::live_object_count();
  {
    const AutoreleaseScope inner;
    kept = Ref<NSString>::retain(string_with("kept"));
    string_with("lost");
    EXPECT_EQ(softmetal::live_object_count(), before + 2);
  }
  EXPECT_EQ(softmetal::live_object_count(), before + 1);
  EXPECT_STREQ(utf8(kept.get()), "kept");
}

TEST_F(ObjcTest, AnAutoreleaseWithoutAPoolIsRefused) {
  std::string said;
  // A fresh thread has no pool.
  std::thread([&] { said = fault_of([] { string_with("leaks"); }); }).join();
  EXPECT_TEXT(said, "with no pool in place");
  EXPECT_TEXT(said, "+[NSString stringWithUTF8String:]");
}

TEST_F(ObjcTest, NilIsRefusedBeforeTheSend) {
  const Error error = error_of([] { count(nullptr); });
  EXPECT_EQ(error.kind(), ErrorKind::kArgument);
  EXPECT_EQ(error.op(), "NSArray");
  EXPECT_TEXT(error.what(), "'count'");
}

TEST_F(ObjcTest, AClassThatIsNotThereIsAnError) {
  const Error error = error_of([] { find_class("MPSNothing"); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_TEXT(error.what(), "MPSNothing");
}

TEST_F(ObjcTest, StringsAndArraysCross) {
  const AutoreleaseScope scope;
  for (const std::string text : {"", "abc", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x8D\x8E"}) {
    const auto made = make_string(text);
    EXPECT_EQ(to_std_string(made.get()), text);
    EXPECT_EQ(to_std_string(string_with(text.c_str())), text);
  }
  const auto a = make_string("a"), b = make_string("b");
  Object* const both[] = {a.get(), b.get()};
  const auto array = make_array(both);
  EXPECT_EQ(retain_count(a.get()), 2u);
  ASSERT_EQ(count(array.get()), 2u);
  EXPECT_EQ(to_std_string(static_cast<NSString*>(at(array.get(), 1))), "b");
  EXPECT_TEXT(fault_of([&] { at(array.get(), 2); }), "index 2 is beyond 2 objects");
  EXPECT_EQ(double_value(number_with(-2.5)), -2.5);
}

TEST_F(ObjcTest, TextThatIsNotUtf8IsAnError) {
  for (const std::string bad : {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "a\xC3"}) {
    const Error error = error_of([&] { make_string(bad); });
    EXPECT_EQ(error.kind(), ErrorKind::kArgument);
  }
}

TEST_F(ObjcTest, AnUnknownSelectorNamesClassAndSelector) {
  // Through the runtime, since no Message of this name compiles.
  const auto text = make_string("x");
  const std::string said =
      fault_of([&] { apple::objc::detail::send<void>(text.get(), register_selector("fly")); });
  EXPECT_TEXT(said, "-[NSString fly]: unrecognized selector");
}

TEST_F(ObjcTest, AMessageToADeallocatedObjectNamesIt) {
  auto text = make_string("x");
  NSString* const dangling = text.get();
  text = {};
  EXPECT_TEXT(fault_of([&] { utf8(dangling); }), "'UTF8String' sent to a deallocated NSString");
}

TEST_F(ObjcTest, AReferenceToADeallocatedObjectIsRefused) {
  auto text = make_string("x");
  NSString* const dangling = text.get();
  text = {};
  EXPECT_TEXT(fault_of([&] { objc_retain(dangling); }), "'retain' sent to a deallocated NSString");
  EXPECT_TEXT(fault_of([&] { objc_release(dangling); }),
              "'release' sent to a deallocated NSString");
}

TEST_F(ObjcTest, PoolsEndInTheirOrder) {
  void* const outer = objc_autoreleasePoolPush();
  void* const inner = objc_autoreleasePoolPush();
  EXPECT_TEXT(fault_of([&] { objc_autoreleasePoolPop(outer); }), "in another order");
  objc_autoreleasePoolPop(inner);
  objc_autoreleasePoolPop(outer);
}

TEST_F(ObjcTest, FoundationRefusesNilAndOtherEncodings) {
  const AutoreleaseScope scope;
  constexpr UInteger kAscii = 1;
  EXPECT_TEXT(fault_of([] { string_with(nullptr); }), "may not be NULL");
  EXPECT_TEXT(fault_of([] { make<NSString>(with_bytes, "x", 1, kAscii); }), "got encoding 1");
  const auto text = make_string("x");
  EXPECT_TEXT(fault_of([&] { length_of(text.get(), kAscii); }), "got encoding 1");
  Object* const none[] = {nullptr};
  EXPECT_TEXT(fault_of([&] { make_array(none); }), "may not be nil");
}

TEST_F(ObjcTest, BlocksCarryStateAndEndWithTheirLastCopy) {
  auto alive = std::make_shared<int>(7);
  const std::weak_ptr<int> watch = alive;
  std::vector<std::byte> memory;
  {
    Block<int(int)> block([held = std::move(alive)](int x) { return x + *held; });
    using Invoke = int (*)(const void*, int);
    struct Literal {
      void* isa;
      std::int32_t flags, reserved;
      Invoke invoke;
    };
    const auto* literal = static_cast<const Literal*>(block.pointer().literal);
    EXPECT_EQ(literal->invoke(literal, 5), 12);
    EXPECT_FALSE(watch.expired());
  }
  EXPECT_TRUE(watch.expired());
}

TEST_F(ObjcTest, SendsFromManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 2000; ++i) {
        const AutoreleaseScope scope;
        const auto text = make_string(std::to_string(i));
        const Ref<NSString> copy = text;
        ASSERT_EQ(to_std_string(copy.get()), std::to_string(i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace wick::test
