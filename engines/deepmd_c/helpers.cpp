/* helpers.cpp - neighbour lists, texts, files and selections */
#include "handles.h"

#include <algorithm>
#include <climits>
#include <fstream>
#include <iostream>
#include <sstream>

using namespace dpc_deepmd_c;

const char *dpc_deepmd_c::copied(const std::string &text)
{
    char *copy = new char[text.size() + 1];
    std::copy_n(text.c_str(), text.size() + 1, copy);
    return copy;
}

DP_Nlist *DP_NewNlist(int centres, int *centre, int *count, int **list)
{
    return new DP_Nlist{centres, centre, count, list};
}

DP_Nlist *DP_NewNlist_comm(int centres, int *centre, int *count, int **list, int, int *, int *, int *, int **, int *,
                           int *, void *, int)
{
    return DP_NewNlist(centres, centre, count, list);
}

void DP_NlistSetMask(DP_Nlist *nlist, int mask)
{
    nlist->mask = mask;
}

void DP_NlistSetMapping(DP_Nlist *, int *) {}

const char *DP_NlistCheckOK(DP_Nlist *)
{
    return copied("");
}

void DP_DeleteNlist(DP_Nlist *nlist)
{
    delete nlist;
}

void DP_PrintSummary(const char *before_each_line)
{
    const int version = dpc_version();
    std::cout << before_each_line << "compress-onnx " << version / 10000 << '.' << version / 100 % 100 << '.'
              << version % 100 << ", for programs of DeePMD-kit's C interface " << DP_C_API_VERSION << '\n'
              << before_each_line << "instructions: " << dpc_isa_name(DPC_ISA_AUTO) << std::endl;
}

const char *DP_ReadFileToChar2(const char *path, int *size)
{
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    std::string problem;
    if (!file || !(content << file.rdbuf()))
        problem = std::string("cannot read ") + path;
    else if (content.str().size() > INT_MAX)
        problem = std::string(path) + " is larger than 2 GiB";
    const std::string text = problem.empty() ? content.str() : problem;
    *size = static_cast<int>(text.size()) * (problem.empty() ? 1 : -1);
    return copied(text);
}

const char *DP_ReadFileToChar(const char *path)
{
    int size;
    const char *content = DP_ReadFileToChar2(path, &size);
    if (size >= 0)
        return content;
    DP_DeleteChar(content);
    return copied("");
}

void DP_DeleteChar(const char *text)
{
    delete[] text;
}

void DP_SelectByType(int atoms, const int *type, int ghosts, int selected_types, const int *selected_type, int *forward,
                     int *selected, int *backward, int *selected_ghosts)
{
    int found = 0, found_ghosts = 0;
    for (int i = 0; i < atoms; i++) {
        const int *end = selected_type + selected_types;
        const bool taken = std::find(selected_type, end, type[i]) != end;
        if (forward != nullptr)
            forward[i] = taken ? found : -1;
        if (taken && backward != nullptr)
            backward[found] = i;
        found += taken;
        found_ghosts += taken && i >= atoms - ghosts;
    }
    if (selected != nullptr)
        *selected = found;
    if (selected_ghosts != nullptr)
        *selected_ghosts = found_ghosts;
}

void DP_SelectMapInt(const int *in, const int *forward, int stride, int atoms, int selected, int *out)
{
    std::fill_n(out, static_cast<size_t>(stride) * selected, 0);
    for (int i = 0; i < atoms; i++)
        if (forward[i] >= 0)
            std::copy_n(in + static_cast<size_t>(stride) * i, stride, out + static_cast<size_t>(stride) * forward[i]);
}
