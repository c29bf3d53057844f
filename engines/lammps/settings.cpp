/* settings.cpp - pair_style dpc MODELS KEYWORDS, read word by word */
#include "settings.h"

#include <cstdlib>
#include <map>
#include <set>
#include <stdexcept>

namespace dpc_lammps {
namespace {

const std::set<std::string> KEYWORDS = {
    "out_freq", "out_file", "atomic", "relative", "relative_v", "range", "device", "fparam", "fparam_from_compute",
    "fparam_from_fix", "aparam", "aparam_from_compute", "ttm"};
const std::map<std::string, std::string> REFUSED = { /* with the reason */
    {"charge_spin", "models that take a charge and spin of the frame are not supported"},
    {"virtual_len", "a model of spins has its own: leave the keyword out"},
    {"spin_norm", "a model of spins has its own: leave the keyword out"}};

bool is_keyword(const std::string &word)
{
    return KEYWORDS.count(word) || REFUSED.count(word);
}

[[noreturn]] void fail(const std::string &sentence)
{
    throw std::invalid_argument(sentence);
}

std::optional<double> to_number(const std::string &word)
{
    char *rest;
    const double number = std::strtod(word.c_str(), &rest);
    return word.empty() || *rest != '\0' ? std::nullopt : std::optional<double>(number);
}

/* A number of steps or the like, or nothing. */
std::optional<int> to_count(const std::string &word)
{
    char *rest;
    const long number = std::strtol(word.c_str(), &rest, 10);
    return word.empty() || *rest != '\0' || number < 0 || number > 2000000000
               ? std::nullopt
               : std::optional<int>(static_cast<int>(number));
}

/* Words one after the other. */
class Words {
public:
    Words(int count, const char *const *word) : word_(word), end_(word + count) {}

    bool left() const { return word_ < end_; }
    bool left_of_value() const { return left() && !is_keyword(*word_); }
    std::string next() { return *word_++; }

    std::string value(const std::string &keyword)
    {
        if (!left_of_value())
            fail("keyword " + keyword + " needs a value after it");
        return next();
    }

    double level(const std::string &keyword)
    {
        const std::string word = value(keyword);
        const std::optional<double> number = to_number(word);
        if (!number || !(*number >= 0))
            fail("the level of " + keyword + " must be a number from 0 on, not " + word);
        return *number;
    }

    int frequency(const std::string &keyword)
    {
        const std::string word = value(keyword);
        const std::optional<int> number = to_count(word);
        if (!number)
            fail(keyword + " must be a number of steps, or 0 for never, not " + word);
        return *number;
    }

    std::vector<double> numbers(const std::string &keyword)
    {
        std::vector<double> numbers;
        while (left_of_value()) {
            const std::string word = next();
            const std::optional<double> number = to_number(word);
            if (!number)
                fail(keyword + " takes numbers, not " + word + "; for values that change use " + keyword +
                     "_from_compute");
            numbers.push_back(*number);
        }
        return numbers;
    }

    /* The component of a fix's vector, where there is one. */
    int component(const std::string &keyword)
    {
        if (!left_of_value())
            return 0;
        const std::string word = next();
        const std::optional<int> number = to_count(word);
        if (!number || *number == 0)
            fail(keyword + " takes the fix's ID and, for its vector, a component counted from 1, not " + word);
        return *number;
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

/* The words after one of the keywords of parameters. */
ParameterSource parameter_source(const std::string &keyword, Words &words)
{
    ParameterSource source;
    source.keyword = keyword;
    if (keyword == "fparam" || keyword == "aparam") {
        source.kind = ParameterSource::VALUES;
        source.values = words.numbers(keyword);
        return source;
    }
    source.id = words.value(keyword);
    if (keyword == "ttm") {
        source.kind = ParameterSource::TTM;
    } else if (keyword == "fparam_from_fix") {
        source.kind = ParameterSource::FIX;
        source.component = words.component(keyword);
    } else {
        source.kind = ParameterSource::COMPUTE;
    }
    return source;
}

void add_parameters(Settings &settings, const std::string &keyword, Words &words)
{
    ParameterSource &source = keyword == "ttm" ? settings.ttm
                              : keyword[0] == 'f' ? settings.fparam
                                                  : settings.aparam;
    if (source.kind != ParameterSource::NONE)
        fail(source.keyword + " and " + keyword + " say the same parameters: leave one out");
    source = parameter_source(keyword, words);
}

} // namespace

Settings parse_settings(int narg, const char *const *arg)
{
    Settings s;
    Words words(narg, arg);
    while (words.left_of_value())
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
        else if (keyword == "device")
            s.device = words.value(keyword);
        else if (KEYWORDS.count(keyword))
            add_parameters(s, keyword, words);
        else if (REFUSED.count(keyword))
            fail(keyword + ": " + REFUSED.at(keyword));
        else
            fail("unknown keyword " + keyword +
                 "; known are out_freq, out_file, atomic, relative, relative_v, range, device, fparam, fparam_from_compute, "
                 "fparam_from_fix, aparam, aparam_from_compute, ttm");
    }
    return s;
}

} // namespace dpc_lammps
