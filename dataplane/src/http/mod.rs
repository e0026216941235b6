//! HTTP/1.1 codecs without I/O: request and response heads, chunked bodies, forwarded heads, answers.
