/*
 * metadata.cpp - skip through the fields of a protobuf message
 *
 * A ModelProto holds its metadata in fields 14, each a message of key (1) and value (2). The file
 * has been read by libdpc before: what is malformed here is not there.
 */
#include "metadata.h"

#include <cstdint>
#include <fstream>
#include <sstream>

namespace dpc_lammps {
namespace {

enum : uint64_t { KEY = 1, VALUE = 2, METADATA = 14 };
enum : uint64_t { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

bool read_varint(std::istream &in, uint64_t &value)
{
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const int byte = in.get();
        if (byte < 0)
            return false;
        value |= static_cast<uint64_t>(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The bytes of the next field whose number is `wanted`; others are skipped. */
bool next_field(std::istream &in, uint64_t wanted, std::string &bytes)
{
    uint64_t key, length;
    while (read_varint(in, key)) {
        const uint64_t wire = key & 7;
        if (wire == WIRE_VARINT) {
            if (!read_varint(in, length))
                return false;
        } else if (wire == WIRE_BYTES) {
            if (!read_varint(in, length))
                return false;
            if (key >> 3 == wanted && length < 1 << 20) {
                bytes.resize(length);
                return static_cast<bool>(in.read(&bytes[0], static_cast<std::streamsize>(length)));
            }
            in.seekg(static_cast<std::streamoff>(length), std::ios::cur);
        } else if (wire == WIRE_64 || wire == WIRE_32) {
            in.seekg(wire == WIRE_64 ? 8 : 4, std::ios::cur);
        } else {
            return false;
        }
    }
    return false;
}

std::string field(const std::string &message, uint64_t number)
{
    std::istringstream in(message);
    std::string bytes;
    return next_field(in, number, bytes) ? bytes : "";
}

} // namespace

std::string model_metadata(const std::string &path, const std::string &key)
{
    std::ifstream in(path, std::ios::binary);
    std::string entry;
    while (next_field(in, METADATA, entry))
        if (field(entry, KEY) == key)
            return field(entry, VALUE);
    return "";
}

} // namespace dpc_lammps
