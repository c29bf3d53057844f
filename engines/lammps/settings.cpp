/* settings.cpp - pair_style dpc MODELS KEYWORDS, read word by word */
#include "settings.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <stdexcept>

namespace dpc_lammps {
namespace {

const std::set<std::string> KEYWORDS = {"out_freq", "out_file", "atomic", "relative", "relative_v", "range"};
const std::set<std::string> PARAMETERS = {"fparam", "aparam", "fparam_from_compute", "fparam_from_fix",
                                          "aparam_from_compute", "ttm", "charge_spin"};
const std::set<std::string> SPIN = {"virtual_len", "spin_norm"};

bool is_keyword(const std::string &word)
{
    return KEYWORDS.count(word) || PARAMETERS.count(word) || SPIN.count(word);
}

[[noreturn]] void fail(const std::string &sentence)
{
    throw std::invalid_argument("pair_style dpc: " + sentence);
}

/* Words one after the other. */
class Words {
public:
    Words(int count, const char *const *word) : word_(word), end_(word + count) {}

    bool left() const { return word_ < end_; }
    std::string peek() const { return *word_; }
    std::string next() { return *word_++; }

    std::string value(const std::string &keyword)
    {
        if (!left() || is_keyword(*word_))
            fail("keyword " + keyword + " needs a value after it");
        return next();
    }

    double level(const std::string &keyword)
    {
        const std::string word = value(keyword);
        char *rest;
        const double number = std::strtod(word.c_str(), &rest);
        if (*rest != '\0' || !(number >= 0))
            fail("the level of " + keyword + " must be a number from 0 on, not " + word);
        return number;
    }

    int frequency(const std::string &keyword)
    {
        const std::string word = value(keyword);
        char *rest;
        const long number = std::strtol(word.c_str(), &rest, 10);
        if (*rest != '\0' || number < 0 || number > 2000000000)
            fail(keyword + " must be a number of steps, or 0 for never, not " + word);
        return static_cast<int>(number);
    }

private:
    const char *const *word_, *const *end_;
};

OutOfRange out_of_range(const std::string &word)
{
    if (word == "warn")
        return OutOfRange::warn;
    if (word == "stop")
        return OutOfRange::stop;
    if (word == "ignore")
        return OutOfRange::ignore;
    fail("range must be warn, stop or ignore, not " + word);
}

} // namespace

Settings parse_settings(int narg, const char *const *arg)
{
    Settings s;
    Words words(narg, arg);
    while (words.left() && !is_keyword(words.peek()))
        s.models.push_back(words.next());
    if (s.models.empty())
        fail("name at least one compressed model (.onnx) before the keywords");
    while (words.left()) {
        const std::string keyword = words.next();
        if (keyword == "out_freq")
            s.out_freq = words.frequency(keyword);
        else if (keyword == "out_file")
            s.out_file = words.value(keyword);
        else if (keyword == "atomic")
            s.atomic = true;
        else if (keyword == "relative")
            s.relative_f = words.level(keyword);
        else if (keyword == "relative_v")
            s.relative_v = words.level(keyword);
        else if (keyword == "range")
            s.out_of_range = out_of_range(words.value(keyword));
        else if (PARAMETERS.count(keyword))
            fail(keyword + ": models with frame or atomic parameters are not supported by this version");
        else if (SPIN.count(keyword))
            fail(keyword + ": models with spin are not supported by this version");
        else
            fail("unknown keyword " + keyword + "; known are out_freq, out_file, atomic, relative, relative_v, range");
    }
    return s;
}

} // namespace dpc_lammps
