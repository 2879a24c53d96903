"""Odd methods, words, header values and bytes for the fuzzer to draw from; ``zqmark`` never comes back."""

from collections.abc import Mapping

METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "ZQMARK",
    "",
)
WORDS: tuple[bytes, ...] = (
    b"zqmark", b"", b"%00", b"%2e%2e", b"%2F", b"..", b".", b"%252e", b"%ff", b"%c3%28", b"%ed%a0%80", b"%",
    b"zq%0d%0amark", b"-1", b"0", b"NaN", b"1e999", b"9" * 30, b"9223372036854775808", b"null", b"true",
    b"zqmark" * 200, b"'zqmark--", b"%25zqmark_", b"job_zqmark", b"ds_" + b"0" * 26, b"\xef\xbf\xbd",
    b"a" * 5000,
    b"..%2f..%2fetc%2fzqmark", b"%E2%80%AEzqmark", b"zq+mark", b"zqmark;a=b", b"[zqmark]", b"{}",
    b"%f0%9f%98%80",
    b"ft:org/base:org-0:bot:zqmark01", b"adapter", b"metrics.csv", b"checkpoint-1", b"log", b"org/base",
)  # fmt: skip
VALUES: Mapping[bytes, tuple[bytes, ...]] = {
    b"authorization": (b"", b"Bearer", b"Bearer zqmark-zqmark", b"Basic enFtYXJr", b"bearer \xff\xfe",
    b"Bearer a b"),
    b"content-type": (
        b"text/plain", b"", b"application/json; charset=utf-16", b"application/json;charset=utf-8",
        b"multipart/form-data", b"multipart/form-data; boundary=zqmark",
        b'multipart/form-data; boundary="', b"\xff",
        b"application/x-www-form-urlencoded", b"application/json, text/html", b"zqmark/zqmark",
    ),
    b"content-length": (b"-1", b"zqmark", b"0", b"1", b"99999999999", b"1e3", b"\xb2", b"9" * 40, b"+5",
    b""),
    b"transfer-encoding": (b"chunked", b"gzip, chunked", b"zqmark", b"identity", b"\xff"),
    b"content-encoding": (b"gzip", b"zqmark", b"identity", b"br, gzip", b"\xff"),
    b"host": (b"a/b?c", b"", b"zqmark@a", b"[::1", b"a:b", b"\xff", b"a, b", b"[::1]:80", b"A" * 300),
    b"idempotency-key": (b"", b"zqmark", b"x" * 300, b"\xff\xfe", b"a b", b"\x00"),
    b"last-event-id": (b"zqmark", b"-1", b"9" * 30, b"\xb2", b"@own:/jobs@:5,@their:/jobs@:x",
    b"1:2:3,,:", b""),
    b"range": (b"bytes=0-0", b"bytes=5-1", b"bytes=-0", b"zqmark", b"bytes=" + b"0-," * 5000,
    b"bytes=\xb2-", b"bytes=9999999-"),
    b"if-none-match": (b"*", b"zqmark", b'W/"zqmark"', b"," * 5000, b"\xff"),
    b"if-range": (b"zqmark", b"\xff"),
    b"content-digest": (b"sha-256=:zqmark:", b"zqmark", b"sha-256=:" + b"A" * 43 + b"=:", b"\xff",
    b"md5=:x:"),
    b"x-request-id": (b"<zqmark>", b"\xff", b"x" * 70, b"a\x00b"),
    b"x-stainless-retry-count": (b"zqmark", b"1", b"-1", b"\xb2", b"9" * 5000, b"\xff"),
    b"x-http-method-override": (b"DELETE", b"zqmark"),
    b"x-forwarded-for": (b"zqmark", b"10.0.0.1, \xff", b"::::"),
    b"x-forwarded-proto": (b"https", b"zqmark"),
    b"neftune-project": (b"zqmark", b"\xff", b"default", b"@their:project@", b""),
    b"origin": (b"https://zqmark.example", b"null", b"\xff"),
    b"referer": (b"https://zqmark.example/x", b"\xff"),
    b"cookie": (b"session=zqmark", b"neftune_session=zqmark", b"a=b; zqmark", b"\xff=\xfe", b"=" * 3000),
    b"accept": (b"text/event-stream", b"zqmark", b"\xff"),
    b"accept-encoding": (b"gzip;q=zqmark", b"\xff"),
    b"expect": (b"100-continue", b"zqmark"),
    b"upgrade": (b"websocket", b"h2c", b"zqmark"),
    b"connection": (b"upgrade", b"zqmark", b"close"),
    b"openai-organization": (b"zqmark", b"\xff"),
    b"user-agent": (b"zqmark\x1b[31m", b"\xff" * 100),
    b"x-zqmark": (b"zqmark" * 12_000, b"\x00", b"a"),
}  # fmt: skip

# What is no text at all. A table costs a child process, so those stand in the corpus and not here.
BLOBS = (b"\x89PNG\r\n\x1a\nzqmark", b"\x1f\x8b\x08zqmark", b"PK\x03\x04zqmark", b"%PDF-zqmark",
b"\x80\x04zqmark",
          b"<html>zqmark", b"\xff\xfe{\x00", b" \n\n", b"\xef\xbb\xbf", b"\x00" * 100,
          b"zqmark")  # fmt: skip
