/*
 * metadata.cpp - skip through the fields of a protobuf message
 *
 * A ModelProto holds its metadata in fields 14, each a message of key (1) and value (2).
 */
#include "metadata.h"

#include <cstdint>

namespace dpc_lammps {
namespace {

enum : uint64_t { KEY = 1, VALUE = 2, METADATA = 14 };

/* A message's fields, one after the other. */
class Fields {
public:
    Fields(const char *at, const char *end) : at_(at), end_(end) {}

    /* The next one with that number that holds bytes; others are skipped. */
    bool find(uint64_t number, const char *&bytes, uint64_t &length)
    {
        uint64_t key;
        while (varint(key)) {
            length = 0;
            switch (key & 7) {
            case 0:
                if (uint64_t value; !varint(value))
                    return false;
                break;
            case 1: length = 8; break;
            case 2:
                if (!varint(length))
                    return false;
                break;
            case 5: length = 4; break;
            default: return false;
            }
            if (length > static_cast<uint64_t>(end_ - at_))
                return false;
            bytes = at_;
            at_ += length;
            if (key == (number << 3 | 2))
                return true;
        }
        return false;
    }

private:
    bool varint(uint64_t &value)
    {
        value = 0;
        for (unsigned shift = 0; shift < 64 && at_ < end_; shift += 7) {
            const auto byte = static_cast<unsigned char>(*at_++);
            value |= static_cast<uint64_t>(byte & 0x7f) << shift;
            if (byte < 0x80)
                return true;
        }
        return false;
    }

    const char *at_, *end_;
};

std::string text(Fields message, uint64_t number)
{
    const char *bytes;
    uint64_t length;
    return message.find(number, bytes, length) ? std::string(bytes, length) : "";
}

} // namespace

std::string model_metadata(const std::string &file, const std::string &key)
{
    Fields model(file.data(), file.data() + file.size());
    const char *bytes;
    uint64_t length;
    while (model.find(METADATA, bytes, length)) {
        const Fields entry(bytes, bytes + length);
        if (text(entry, KEY) == key)
            return text(entry, VALUE);
    }
    return "";
}

} // namespace dpc_lammps
