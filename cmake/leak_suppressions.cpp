// Part of every program that the address sanitizer checks.

// GCC's Objective-C runtime, loaded with software Metal, never frees two selectors of its own.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libobjc.so\n"; }
