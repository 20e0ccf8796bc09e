/* The part of OpenSSL's C interface used here, as declared in its 3.0 headers; unchanged up to 4.x.

   All structures are opaque but three, whose layout is part of the interface between OpenSSL and its providers. */

typedef struct ossl_lib_ctx_st OSSL_LIB_CTX;
typedef struct ossl_provider_st OSSL_PROVIDER;
typedef struct ossl_core_handle_st OSSL_CORE_HANDLE;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_pkey_ctx_st EVP_PKEY_CTX;
typedef struct evp_md_ctx_st EVP_MD_CTX;
typedef struct x509_st X509;
typedef struct X509_name_st X509_NAME;
typedef struct x509_store_ctx_st X509_STORE_CTX;
typedef struct stack_st OPENSSL_STACK;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;
typedef struct ui_method_st UI_METHOD;
typedef struct ossl_store_ctx_st OSSL_STORE_CTX;
typedef struct ossl_store_info_st OSSL_STORE_INFO;
typedef struct { int function_id; void *function; } OSSL_DISPATCH;
typedef struct {
    const char *algorithm_names; const char *property_definition; const OSSL_DISPATCH *implementation;
    const char *algorithm_description;
} OSSL_ALGORITHM;
typedef struct {
    const char *key; unsigned int data_type; void *data; size_t data_size; size_t return_size;
} OSSL_PARAM;
typedef int OSSL_CALLBACK(const OSSL_PARAM params[], void *arg);
typedef int OSSL_provider_init_fn(const OSSL_CORE_HANDLE *, const OSSL_DISPATCH *, const OSSL_DISPATCH **, void **);
typedef int pem_password_cb(char *buf, int size, int rwflag, void *userdata);

unsigned long OpenSSL_version_num(void);
const char *OpenSSL_version(int type);
void *CRYPTO_malloc(size_t num, const char *file, int line);
void CRYPTO_free(void *ptr, const char *file, int line);
unsigned long ERR_get_error_all(const char **file, int *line, const char **func, const char **data, int *flags);
void ERR_error_string_n(unsigned long e, char *buf, size_t len);
const char *ERR_reason_error_string(unsigned long e);
void ERR_clear_error(void);

OSSL_LIB_CTX *OSSL_LIB_CTX_new(void);
void OSSL_LIB_CTX_free(OSSL_LIB_CTX *);
int OSSL_LIB_CTX_load_config(OSSL_LIB_CTX *, const char *config_file);
int OSSL_PROVIDER_add_builtin(OSSL_LIB_CTX *, const char *name, OSSL_provider_init_fn *init_fn);
OSSL_PROVIDER *OSSL_PROVIDER_load(OSSL_LIB_CTX *, const char *name);
int OSSL_PROVIDER_available(OSSL_LIB_CTX *, const char *name);
int EVP_set_default_properties(OSSL_LIB_CTX *, const char *propq);
int OSSL_PARAM_set_int(OSSL_PARAM *, int val);
int OSSL_PARAM_set_utf8_string(OSSL_PARAM *, const char *val);
OSSL_PARAM *OSSL_PARAM_locate(OSSL_PARAM *, const char *key);
const OSSL_PARAM *OSSL_PARAM_locate_const(const OSSL_PARAM *, const char *key);

EVP_PKEY_CTX *EVP_PKEY_CTX_new_from_name(OSSL_LIB_CTX *, const char *name, const char *propq);
EVP_PKEY_CTX *EVP_PKEY_CTX_new_from_pkey(OSSL_LIB_CTX *, EVP_PKEY *, const char *propq);
void EVP_PKEY_CTX_free(EVP_PKEY_CTX *);
int EVP_PKEY_fromdata_init(EVP_PKEY_CTX *);
int EVP_PKEY_fromdata(EVP_PKEY_CTX *, EVP_PKEY **, int selection, OSSL_PARAM params[]);
int EVP_PKEY_keygen_init(EVP_PKEY_CTX *);
int EVP_PKEY_CTX_set_params(EVP_PKEY_CTX *, const OSSL_PARAM *);
int EVP_PKEY_generate(EVP_PKEY_CTX *, EVP_PKEY **);
void EVP_PKEY_free(EVP_PKEY *);
int EVP_PKEY_derive_init(EVP_PKEY_CTX *);
int EVP_PKEY_derive_set_peer(EVP_PKEY_CTX *, EVP_PKEY *);
int EVP_PKEY_derive(EVP_PKEY_CTX *, unsigned char *key, size_t *keylen);
int EVP_PKEY_get_octet_string_param(
    const EVP_PKEY *, const char *name, unsigned char *buf, size_t max, size_t *out);
int EVP_PKEY_get_utf8_string_param(const EVP_PKEY *, const char *name, char *buf, size_t max, size_t *out);
EVP_PKEY *d2i_PUBKEY_ex(EVP_PKEY **, const unsigned char **, long, OSSL_LIB_CTX *, const char *propq);
int i2d_PUBKEY(const EVP_PKEY *, unsigned char **);
int i2d_PrivateKey(const EVP_PKEY *, unsigned char **);
EVP_MD_CTX *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(EVP_MD_CTX *);
int EVP_DigestSignInit_ex(EVP_MD_CTX *, EVP_PKEY_CTX **, const char *mdname, OSSL_LIB_CTX *, const char *props,
    EVP_PKEY *, const OSSL_PARAM params[]);
int EVP_DigestSign(EVP_MD_CTX *, unsigned char *sig, size_t *siglen, const unsigned char *tbs, size_t tbslen);

const BIO_METHOD *BIO_s_mem(void);
BIO *BIO_new(const BIO_METHOD *);
int BIO_free(BIO *);
int BIO_read(BIO *, void *data, int dlen);
int BIO_write(BIO *, const void *data, int dlen);
int PEM_write_bio_PrivateKey_ex(BIO *, const EVP_PKEY *, const void *enc, const unsigned char *kstr, int klen,
    pem_password_cb *, void *u, OSSL_LIB_CTX *, const char *propq);

UI_METHOD *UI_UTIL_wrap_read_pem_callback(pem_password_cb *, int rwflag);
void UI_destroy_method(UI_METHOD *);
OSSL_STORE_CTX *OSSL_STORE_open_ex(const char *uri, OSSL_LIB_CTX *, const char *propq, const UI_METHOD *, void *ui_data,
    const OSSL_PARAM params[], void *post_process, void *post_process_data);
OSSL_STORE_INFO *OSSL_STORE_load(OSSL_STORE_CTX *);
int OSSL_STORE_eof(OSSL_STORE_CTX *);
int OSSL_STORE_close(OSSL_STORE_CTX *);
EVP_PKEY *OSSL_STORE_INFO_get1_PKEY(const OSSL_STORE_INFO *);
void OSSL_STORE_INFO_free(OSSL_STORE_INFO *);

OPENSSL_STACK *OPENSSL_sk_new_null(void);
int OPENSSL_sk_push(OPENSSL_STACK *, const void *);
void OPENSSL_sk_free(OPENSSL_STACK *);
void OPENSSL_sk_pop_free(OPENSSL_STACK *, void *free);
X509 *X509_new_ex(OSSL_LIB_CTX *, const char *propq);
X509 *d2i_X509(X509 **, const unsigned char **, long);
void X509_free(X509 *);
X509_NAME *d2i_X509_NAME(X509_NAME **, const unsigned char **, long);
void X509_NAME_free(X509_NAME *);
void X509_STORE_CTX_set_error(X509_STORE_CTX *, int);
void *X509_STORE_CTX_get_ex_data(const X509_STORE_CTX *, int idx);

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_method_st SSL_METHOD;
typedef struct ssl_cipher_st SSL_CIPHER;

const SSL_METHOD *TLS_server_method(void);
const SSL_METHOD *TLS_client_method(void);
SSL_CTX *SSL_CTX_new_ex(OSSL_LIB_CTX *, const char *propq, const SSL_METHOD *);
void SSL_CTX_free(SSL_CTX *);
long SSL_CTX_ctrl(SSL_CTX *, int cmd, long larg, void *parg);
long SSL_CTX_callback_ctrl(SSL_CTX *, int, void *);
uint64_t SSL_CTX_set_options(SSL_CTX *, uint64_t);
int SSL_CTX_set_ciphersuites(SSL_CTX *, const char *);
int SSL_CTX_set_cipher_list(SSL_CTX *, const char *);
typedef int (*custom_ext_add_cb)(SSL *, unsigned int, const unsigned char **out, size_t *outlen, int *al, void *);
int SSL_CTX_add_client_custom_ext(
    SSL_CTX *, unsigned int ext_type, custom_ext_add_cb, void *free_cb, void *arg, void *parse_cb, void *parse_arg);
int SSL_CTX_add_server_custom_ext(
    SSL_CTX *, unsigned int ext_type, custom_ext_add_cb, void *free_cb, void *arg, void *parse_cb, void *parse_arg);
int SSL_CTX_set_num_tickets(SSL_CTX *, size_t);
void SSL_CTX_set_verify(SSL_CTX *, int mode, void *callback);
void SSL_CTX_set_cert_verify_callback(SSL_CTX *, int (*cb)(X509_STORE_CTX *, void *), void *arg);
void SSL_CTX_set_cert_cb(SSL_CTX *, int (*cb)(SSL *, void *), void *arg);
void SSL_CTX_set_info_callback(SSL_CTX *, void (*cb)(const SSL *, int where, int ret));
void SSL_CTX_set_msg_callback(
    SSL_CTX *, void (*cb)(int write_p, int version, int type, const void *buf, size_t len, SSL *, void *arg));
void SSL_set_msg_callback(
    SSL *, void (*cb)(int write_p, int version, int type, const void *buf, size_t len, SSL *, void *arg));
void SSL_CTX_set_keylog_callback(SSL_CTX *, void (*cb)(const SSL *, const char *line));
void SSL_CTX_set0_CA_list(SSL_CTX *, OPENSSL_STACK *);

SSL *SSL_new(SSL_CTX *);
void SSL_free(SSL *);
void SSL_set_bio(SSL *, BIO *rbio, BIO *wbio);
void SSL_set_accept_state(SSL *);
void SSL_set_connect_state(SSL *);
int SSL_do_handshake(SSL *);
int SSL_read_ex(SSL *, void *buf, size_t num, size_t *readbytes);
int SSL_write_ex(SSL *, const void *buf, size_t num, size_t *written);
int SSL_shutdown(SSL *);
int SSL_get_error(const SSL *, int);
long SSL_ctrl(SSL *, int cmd, long larg, void *parg);
int SSL_set_ex_data(SSL *, int, void *);
void *SSL_get_ex_data(const SSL *, int);
int SSL_get_ex_data_X509_STORE_CTX_idx(void);
void SSL_certs_clear(SSL *);
int SSL_use_cert_and_key(SSL *, X509 *, EVP_PKEY *, OPENSSL_STACK *chain, int override);
const char *SSL_get_version(const SSL *);
const SSL_CIPHER *SSL_get_current_cipher(const SSL *);
const char *SSL_CIPHER_get_name(const SSL_CIPHER *);
const char *SSL_group_to_name(SSL *, int id);
