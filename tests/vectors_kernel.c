/* Answers test vectors of hopspec from standard input: updates and log-normalizers in float32 and float64.
 *
 *   hopspec vectors generate --lines | ./vectors_kernel | hopspec vectors check --lines -
 *
 * A vector is a JSON object on one line. Its strings hold neither quotes nor backslashes, every name of a member
 * occurs once, and nothing stands between a name and its value, so that finding "name": in the line is enough.
 *
 * Compiled with -DFAULT=1 ... 7 the kernel makes one of these mistakes:
 */
#define NO_MAXIMUM 1
#define TAIL_DROPPED 2
#define BETA_TWICE 3
#define MASK_IGNORED 4
#define BASE_TWO 5
#define SCORES_IN_SINGLE 6
#define NAN_IGNORED 7

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef FAULT
#define FAULT 0
#endif

enum { LINE = 1 << 20, LARGEST = 1 << 16, TILE = 16 };

static char line[LINE];
static double query[LARGEST], memory[LARGEST], value[LARGEST], weight[LARGEST];

/* What follows "name": in the line, or NULL. */
static const char *member(const char *name) {
    char pattern[64];
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    const char *found = strstr(line, pattern);
    return found ? found + strlen(pattern) : NULL;
}

static long count(const char *name) { return strtol(member(name), NULL, 10); }

static int is(const char *name, const char *text) {
    const char *found = member(name);
    size_t length = strlen(text);
    return found && !strncmp(found + 1, text, length) && found[length + 1] == '"';
}

/* The number that the first digits of text stand for: 8 of a float32, 16 of a float64. */
static double number(const char *text, int digits) {
    char word[17] = {0};
    memcpy(word, text, (size_t)digits);
    uint64_t bits = strtoull(word, NULL, 16);
    if (digits == 8) {
        uint32_t narrow = (uint32_t)bits;
        float x;
        memcpy(&x, &narrow, sizeof x);
        return x;
    }
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void print(double x, int digits) {
    if (digits == 8) {
        float narrow = (float)x;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        printf("%08lx", (unsigned long)bits);
    } else {
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        printf("%016llx", (unsigned long long)bits);
    }
}

static void numbers(const char *name, double *into, long size, int digits) {
    const char *text = member(name) + 1;
    for (long i = 0; i < size; i++) into[i] = number(text + i * digits, digits);
}

/* The exponent of the largest finite number of an array: divided by its power of two, nothing can overflow. */
static int exponent(const double *x, long size) {
    double largest = 0;
    for (long i = 0; i < size; i++)
        if (isfinite(x[i]) && fabs(x[i]) > largest) largest = fabs(x[i]);
    int e = 0;
    frexp(largest, &e);
    return e;
}

static int all_finite(const double *x, long size) {
    for (long i = 0; i < size; i++)
        if (!isfinite(x[i])) return FAULT == NAN_IGNORED;
    return 1;
}

int main(void) {
    while (fgets(line, LINE, stdin)) {
        if (member("hopspec_vectors")) { /* the header goes through as it came */
            fputs(line, stdout);
            continue;
        }
        int update = is("quantity", "update"), single = is("format", "float32");
        if (!(update || is("quantity", "log_normalizer")) || !(single || is("format", "float64"))) continue;
        int digits = single ? 8 : 16;
        long queries = count("queries"), n = count("memories"), d = count("width"), dv = count("value_width");
        double beta = number(member("beta") + 1, 16);
        if (queries * d > LARGEST || n * d > LARGEST || n * dv > LARGEST) continue;
        numbers("query", query, queries * d, digits);
        numbers("memory", memory, n * d, digits);
        numbers(member("values") ? "values" : "memory", value, n * dv, digits);
        const char *keep = member("keep") ? member("keep") + 1 : NULL;
        if (FAULT == TAIL_DROPPED && n > TILE) n -= n % TILE;
        if (FAULT == BETA_TWICE) beta *= fabs(beta);
        int qe = exponent(query, queries * d), me = exponent(memory, n * d), ve = exponent(value, n * dv);
        long stride = count("memories");

        printf("{\"id\":\"%.*s\",\"result\":\"", (int)strcspn(member("id") + 1, "\""), member("id") + 1);
        for (long l = 0; l < queries; l++) {
            /* Scores over their power of two; the best one has the largest logit, whatever the sign of beta. */
            double best = -INFINITY, total = 0;
            int sound = all_finite(query + l * d, d), empty = 1;
            for (long i = 0; i < n; i++) {
                weight[i] = NAN;
                if (keep && keep[l * stride + i] == '0' && FAULT != MASK_IGNORED) continue;
                empty = 0;
                sound = sound && all_finite(memory + i * d, d);
                double score = 0;
                for (long j = 0; j < d; j++)
                    score += ldexp(query[l * d + j], -qe) * ldexp(memory[i * d + j], -me);
                if (FAULT == SCORES_IN_SINGLE) score = ldexp((float)ldexp(score, qe + me), -qe - me);
                weight[i] = beta < 0 ? -score : score;
                if (weight[i] > best) best = weight[i];
            }
            if (FAULT == NO_MAXIMUM) best = 0;
            for (long i = 0; i < n; i++) {
                weight[i] = isnan(weight[i]) ? 0 : exp(ldexp(fabs(beta) * (weight[i] - best), qe + me));
                total += weight[i];
            }
            if (!update) {
                double result = ldexp(fabs(beta) * best, qe + me) + log(total);
                if (FAULT == BASE_TWO) result /= log(2);
                print(empty ? -INFINITY : sound ? result : NAN, digits);
            }
            for (long j = 0; update && j < dv; j++) {
                double sum = 0;
                for (long i = 0; i < n; i++)
                    if (weight[i] > 0) sum += weight[i] * ldexp(value[i * dv + j], -ve);
                print(empty ? 0 : sound ? ldexp(sum / total, ve) : NAN, digits);
            }
        }
        puts("\"}");
    }
    return 0;
}
