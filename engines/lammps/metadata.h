/* metadata.h - one entry of an .onnx file's metadata_props, without reading the rest of the file */
#ifndef DPC_LAMMPS_METADATA_H
#define DPC_LAMMPS_METADATA_H

#include <string>

namespace dpc_lammps {

/* Empty where the file has no such entry. */
std::string model_metadata(const std::string &path, const std::string &key);

} // namespace dpc_lammps
#endif
