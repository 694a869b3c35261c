"""Limits of what is read from files and servers: far above what is in use, and below what harms a machine."""

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# Bytes of one file, or of one entry of an archive when it is unpacked.
IMAGE_BYTES = 512 * MIB  # a TIFF of 100 megapixels without compression has 300 MiB
TEXT_BYTES = 16 * MIB  # labels of seeds, quality codes, records of jobs
METADATA_BYTES = 128 * MIB  # dataset.json; with names and classes a million images take 40 MiB
VECTOR_BYTES = 64 * MIB  # arrays of quality codes and directions, small networks such as YuNet (230 KiB)
CIFAR_BYTES = 512 * MIB  # CIFAR-10 has 178 MiB
MNIST_BYTES = 768 * MIB  # the largest of its relatives, EMNIST, has 522 MiB
NIQE_BYTES = 1 * MIB  # the model of 36 features has 12 KiB
ANY_BYTES = 1 << 62  # bound of archives that are read entry by entry
WEIGHTS_BYTES = 4 * GIB  # published weights and networks
KERNEL_BYTES = 64 * MIB  # a compiled kernel has some hundred KiB
NOTE_BYTES = 64 * KIB  # what lies beside a download

# Numbers of things.
PIXELS = 178_956_970  # pixels of an image, the bound from which Pillow suspects a bomb
JSON_LISTS = 4_000_000  # lists and objects in one JSON file: each takes 60 bytes of memory or more for 2 of text
PARTS = 20_000  # files in an archive of tensors
VIDEO_PIXELS = 67_108_864  # pixels of a frame: 8192 x 8192

# Downloads.
DOWNLOAD_BYTES = 16 * GIB
STALL_SECONDS = 30  # without a byte
SLOW_SECONDS = 120  # after which a download has to be faster than:
SLOW_RATE = 1 * KIB  # bytes a second, on average
