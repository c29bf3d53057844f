// elements - a colour and a covalent radius in Å of each element, for drawing.

const TABLE = `
H e8e8ec 0.31  He c9f0f0 0.28 Li b57be8 1.28 Be b4d84a 0.96 B f0a8a0 0.84  C 55595f 0.76  N 4562e0 0.71  O e0403a 0.66
F 7ecb53 0.57  Ne a5dff0 0.58 Na 9c63e0 1.66 Mg 77cf3a 1.41 Al b5a3a3 1.21 Si d8b88a 1.11 P f08a24 1.07  S ecc92e 1.05
Cl 3fc24a 1.02 Ar 78cfe0 1.06 K 8a48cf 2.03  Ca 56bf2c 1.76 Sc d9d9dc 1.70 Ti b4b8bd 1.60 V a3a5ad 1.53  Cr 8595c2 1.39
Mn 9b79c4 1.39 Fe d9692f 1.32 Co e58b9b 1.26 Ni 55c96a 1.24 Cu c9803c 1.32 Zn 7f82b4 1.22 Ga c08d8d 1.22 Ge 6a9191 1.20
As bb80de 1.19 Se f0a01e 1.20 Br a8342c 1.20 Kr 5fb5cc 1.16 Rb 7233ad 2.20 Sr 1fd01f 1.95 Y 8fe8e6 1.90  Zr 92dbdb 1.75
Nb 75bfc4 1.64 Mo 57b0b0 1.54 Tc 3f9a9c 1.47 Ru 278a8c 1.46 Rh 147a8a 1.42 Pd 15697f 1.39 Ag b9bdc6 1.45 Cd e8cf86 1.44
In a67a75 1.42 Sn 6a8080 1.39 Sb 9c66b3 1.39 Te cf7a10 1.38 I 8f1f94 1.39  Xe 469bb0 1.40 Cs 5b1f8c 2.44 Ba 14bf14 2.15
La 6cc7ed 2.07 Ce ecedbb 2.04 Pr d0edbb 2.03 Nd bfedbb 2.01 Pm a3edbb 1.99 Sm 8fedbb 1.98 Eu 61edbb 1.98 Gd 45edbb 1.96
Tb 30edbb 1.94 Dy 1fedbb 1.92 Ho 12e09a 1.92 Er 0ed67a 1.89 Tm 0cc958 1.90 Yb 0bb83c 1.87 Lu 0ba526 1.87 Hf 51b5ed 1.75
Ta 519de8 1.70 W 2f8bcf 1.62  Re 2f75a3 1.51 Os 2f6090 1.44 Ir 215084 1.41 Pt c4c6d8 1.36 Au ecc02e 1.36 Hg b4b4c6 1.32
Tl a0524a 1.45 Pb 565961 1.46 Bi 9a4cb0 1.48 Po a65810 1.40 At 704c42 1.50 Rn 3f7f92 1.50 Ac 70a8ee 2.15 Th 18b4ee 2.06
Pa 12a0ee 2.00 U 108ee8 1.96  Np 1080ee 1.90 Pu 106aee 1.87`;

const ELEMENTS = new Map(
  [...TABLE.matchAll(/(\w+) ([0-9a-f]{6}) (\S+)/g)].map(([, name, color, radius]) => [
    name,
    { color: `#${color}`, radius: Number(radius) },
  ]),
);
const OTHERS = ["#5b9bf0", "#ef8b55", "#62d18f", "#b57be8", "#ecc92e", "#e58b9b"]; // names that are no elements

/** {color, radius} of the type `name`, which is number `type` of the model. */
export function elementOf(name, type = 0) {
  const element = ELEMENTS.get(name) ?? ELEMENTS.get(name.replace(/[^A-Za-z].*$/, ""));
  return element ?? { color: OTHERS.at(type % OTHERS.length), radius: 0.9 };
}
