#pragma once

#include <span>
#include <string>
#include <string_view>

#include "apple/objc/tags.hpp"
#include "wick/base/error.hpp"

// What of Foundation passes between C++ and Metal.

namespace wick::apple::objc {

/// A new string of these UTF-8 bytes. Throws Error kArgument when they are not UTF-8.
Ref<NSString> make_string(std::string_view text);
/// The text of a string, "" for null.
std::string to_std_string(NSString* text);
/// A new array that retains these objects.
Ref<NSArray> make_array(std::span<Object* const> objects);
/// Domain, code and description of an NSError as an Error of the kind; "no reason was given" for null.
Error to_error(NSError* error, ErrorKind kind, std::string op, std::string_view what);
/// The system's version, for people: "Version 14.4 (Build 23E214)"; "softmetal" on softmetal.
std::string system_version();
/// Whether the system is at least this version of macOS; true everywhere on softmetal.
bool system_is_at_least(long major, long minor);

}  // namespace wick::apple::objc
