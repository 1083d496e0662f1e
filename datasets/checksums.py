"""SHA-256 of published files."""

# Planetoid, of the repository kimiyoung/planetoid, folder data. These are pickles, and reading a pickle runs
# what is written in it: only files with these sums are read.
SHA256: dict[str, dict[str, str]] = {
    "cora": {
        "ind.cora.x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
        "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
        "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
        "ind.cora.y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
        "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
        "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
        "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
        "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    },
    "citeseer": {
        "ind.citeseer.x": "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6",
        "ind.citeseer.tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
        "ind.citeseer.allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
        "ind.citeseer.y": "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
        "ind.citeseer.ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
        "ind.citeseer.ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
        "ind.citeseer.graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
        "ind.citeseer.test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
    },
    "pubmed": {
        "ind.pubmed.x": "fbe9cb5c47200d1b7769a26e579be3b7130b556831f9d850e77c4c74f2599b33",
        "ind.pubmed.tx": "4eb5f5d0f30f26497eb0ac6ac9719d09c67e284f1ed0385c93f3ef27a671da3d",
        "ind.pubmed.allx": "508e538e2abdccdd54c4d3e9f49d638b4af7107d85845f66ddea5a5152658b7e",
        "ind.pubmed.y": "e6c807633307a07ed659249006536a147c7999c797f11a2560752990181b41b3",
        "ind.pubmed.ty": "ee2e0d4819d9fbcc403689c3bf2e49face401b605932f093bc58ab6461130fdd",
        "ind.pubmed.ally": "0c37bbe3b5014ec365e9d393cf4791925e5ed94fb194305d74f064a8d7b50f0e",
        "ind.pubmed.graph": "5b89f0036ca22909471f1e6558eb42fa06e0c730a577bde5b058b40638f81dc9",
        "ind.pubmed.test.index": "b101d421688bbaecbd82e8a18f1e282378d6830f3a37666f28ebc47f844341b5",
    },
}
# Reading these files runs nothing in them: a file with another sum is read, with a warning.
PUBLISHED: dict[str, str] = {
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "blogcatalog.mat": "d4f4fb89ce1ccd4b7e2a183386c000773cc9362cc61f1be5b246a6d9c259da8f",
    "Homo_sapiens.mat": "8a32b88b0576276f02d7aaa3fd282e8617a3e6db8d39abb6212a283363bf1183",
    "input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
}
# These files exist in several forms, packed or with other ends of lines: SHA-256 of the numbers in them.
# Coauthor, ENZYMES, NCI1 and IMDB-BINARY have no published sum, and so none here.
CONTENT: dict[str, str] = {
    "amazon_electronics_computers.npz": "5b46f3fa7a1231da6c6b63485901e8448fca2c7ff8245714e15c3cb764c40426",
    "amazon_electronics_photo.npz": "15aea76c0d51330f5ef6bd5d52cd367bc77695ad44110e8ea006de7642b94f62",
    "cora.npz": "c22985c6dd5a6d317f9c4b960d67b9ce3d1ae80bea81ebce79c63bb5e9a6713d",
    "citeseer.npz": "b358b7498fc2b789d403f15a72164effa0d6579ed32a0f3666e0aa6caa13a1f4",
    "MUTAG_A.txt": "e113c4bced1ab0a7cd59d38573334d41c638f2ff34441910eaf4e90fae620c7d",
    "MUTAG_edge_labels.txt": "a8d2f9ab580d9a3f01017b1520bdcaa9338c8ee414032fe92bbb942b53612704",
    "MUTAG_graph_indicator.txt": "b849a17ea83d633db5eca2c52abdcd1a7b9cc685618ac2a366e54c2d6855fb9d",
    "MUTAG_graph_labels.txt": "5aa6ea099157dc910af246fe8abf2fdfa4c3d181fd2ab97018373bb219a2898d",
    "MUTAG_node_labels.txt": "99a6e4abc6d8d0f959fd5676e6552fc92b300e6c06c183dcf61d5ab1916dbe0e",
    "PROTEINS_A.txt": "746f769d6efdd7bf0b6994a19839ac8ee1564ce2131ad634aabc51f0c7837eb3",
    "PROTEINS_graph_indicator.txt": "0c6c129d59e987fc85bfd08394c0f2234172357764c5dc89011cdaff665ae12c",
    "PROTEINS_graph_labels.txt": "45da273f94bb85a1ad5f463c3d6a09f4762b7f96a3afa54dbca8c32ec4fe42c9",
    "PROTEINS_node_labels.txt": "200dc7a1ad645505ec1f11b908e3f47d777aa36b1ae6a12ecb5faeac2126a745",
}
