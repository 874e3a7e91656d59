// SPDX-License-Identifier: Apache-2.0
#include "proto/text.h"

#include <gtest/gtest.h>

namespace passthroughfs {
namespace {

TEST(Utf8, AcceptsEveryLengthOfCharacter) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"));
}

TEST(Utf8, RefusesWhatIsNone) {
  for (const std::string_view text :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xE2\x82",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xC3z"}) {
    EXPECT_FALSE(is_utf8(text));
    EXPECT_TRUE(is_utf8(to_utf8(text)));
  }
}

TEST(Utf8, ReplacesOnlyTheBytesThatDoNotBelong) {
  EXPECT_EQ(to_utf8("a\xFF\xC3\xA4"), "a\xEF\xBF\xBD\xC3\xA4");
}

TEST(Base64, KnowsTheTestVectors) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {"\xFF\xFE", "//4="}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(encode_base64(bytes), text);
    EXPECT_EQ(decode_base64(text), bytes);
  }
}

TEST(Base64, RefusesWhatIsNone) {
  for (const std::string_view text :
       {"Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm9*", "=Zm9"}) {
    EXPECT_FALSE(decode_base64(text)) << text;
  }
}

TEST(Terminal, ShowsNothingThatATerminalObeys) {
  EXPECT_EQ(escape_for_terminal("a\nb\tc\x1b[2J\\"), "a\\nb\\tc\\033[2J\\\\");
  EXPECT_EQ(escape_for_terminal("\xC2\x9B"
                                "2J"),
            "\\302\\2332J");
  EXPECT_EQ(escape_for_terminal("\xFFz"), "\\377z");
  EXPECT_EQ(escape_for_terminal("\xC3\xA4"), "\xC3\xA4");
}

}  // namespace
}  // namespace passthroughfs
