@ The inner loops of convolutions. The functions follow the procedure call standard for the ARM architecture and use no vector registers but
@ q0 to q3 and q8 to q15, which are theirs by it. Counts are multiples of eight above zero. Addresses need no more alignment than their numbers.

    .syntax unified
    .arch armv7-a
    .fpu neon
    .arm
    .text

@ (codes, to, count, zero point): 16-bit differences of codes and their zero point.
    .globl mobileight_neon_differences
    .hidden mobileight_neon_differences
    .type mobileight_neon_differences, %function
    .p2align 4
mobileight_neon_differences:
    vdup.8 d6, r3
1:  vld1.8 {d0}, [r0]!
    subs r2, r2, #8
    vsubl.u8 q1, d0, d6
    vst1.16 {d2-d3}, [r1]!
    bgt 1b
    bx lr
    .size mobileight_neon_differences, . - mobileight_neon_differences

@ Eight numbers of each of two rows, into (a, b) and (c, d), and their products with q0 to the sums.
    .macro two_rows sum, next, a, b, c, d
    vld1.16 {\a-\b}, [r0], r2
    vld1.16 {\c-\d}, [r0], r2
    vmlal.s16 \sum, \a, d0
    vmlal.s16 \next, \c, d0
    vmlal.s16 \sum, \b, d1
    vmlal.s16 \next, \d, d1
    .endm

@ (patches, weights, bytes of a row, sums, bias, bytes from a sum to the next): for each of eight rows of patches, behind each other, the
@ bias and the sum of the products with the weights. Numbers are of 16 bits, a row is a multiple of 16 bytes.
    .globl mobileight_neon_products
    .hidden mobileight_neon_products
    .type mobileight_neon_products, %function
    .p2align 4
mobileight_neon_products:
    push {r4, lr}
    .irp sum, 8, 9, 10, 11, 12, 13, 14, 15
    vmov.i32 q\sum, #0
    .endr
    mov ip, r2
    @ From behind the last row's numbers to the first row's next.
    rsb r4, r2, #2
    lsl r4, r4, #3
1:  subs ip, ip, #16
    vld1.16 {d0-d1}, [r1]!
    two_rows q8, q9, d2, d3, d4, d5
    two_rows q10, q11, d6, d7, d2, d3
    two_rows q12, q13, d4, d5, d6, d7
    two_rows q14, q15, d2, d3, d4, d5
    add r0, r0, r4
    bgt 1b
    @ Eight sums of four lanes, to eight sums in q8 and q9.
    vadd.i32 d16, d16, d17
    vadd.i32 d18, d18, d19
    vadd.i32 d20, d20, d21
    vadd.i32 d22, d22, d23
    vadd.i32 d24, d24, d25
    vadd.i32 d26, d26, d27
    vadd.i32 d28, d28, d29
    vadd.i32 d30, d30, d31
    vpadd.i32 d16, d16, d18
    vpadd.i32 d17, d20, d22
    vpadd.i32 d18, d24, d26
    vpadd.i32 d19, d28, d30
    ldr ip, [sp, #8]
    ldr r4, [sp, #12]
    vdup.32 q0, ip
    vadd.i32 q8, q8, q0
    vadd.i32 q9, q9, q0
    .irp pair, d16, d17, d18, d19
    vst1.32 {\pair[0]}, [r3], r4
    vst1.32 {\pair[1]}, [r3], r4
    .endr
    pop {r4, pc}
    .size mobileight_neon_products, . - mobileight_neon_products

@ (sums, codes, weights, count, zero point): adds to each sum a code's difference to the zero point, times a weight.
    .globl mobileight_neon_multiply_add
    .hidden mobileight_neon_multiply_add
    .type mobileight_neon_multiply_add, %function
    .p2align 4
mobileight_neon_multiply_add:
    ldr ip, [sp]
    vdup.8 d6, ip
1:  vld1.8 {d0}, [r1]!
    vld1.16 {d2-d3}, [r2]!
    vld1.32 {d16-d19}, [r0]
    subs r3, r3, #8
    vsubl.u8 q2, d0, d6
    vmlal.s16 q8, d4, d2
    vmlal.s16 q9, d5, d3
    vst1.32 {d16-d19}, [r0]!
    bgt 1b
    bx lr
    .size mobileight_neon_multiply_add, . - mobileight_neon_multiply_add

@ (sums, multipliers, codes, count, constants): `Float::requantize`. Constants: the bounds, the magic number, and what to subtract from its
@ sums' bits. That subnormal numbers count as zeros here makes no difference to a product that is rounded to an integer.
    .globl mobileight_neon_requantize_float
    .hidden mobileight_neon_requantize_float
    .type mobileight_neon_requantize_float, %function
    .p2align 4
mobileight_neon_requantize_float:
    ldr ip, [sp]
    vld1.32 {d20[], d21[]}, [ip]!
    vld1.32 {d22[], d23[]}, [ip]!
    vld1.32 {d24[], d25[]}, [ip]!
    vld1.32 {d26[], d27[]}, [ip]
1:  vld1.32 {d0-d3}, [r0]!
    vld1.32 {d4-d7}, [r1]!
    subs r3, r3, #8
    vcvt.f32.s32 q0, q0
    vcvt.f32.s32 q1, q1
    vmul.f32 q0, q0, q2
    vmul.f32 q1, q1, q3
    vmax.f32 q0, q0, q10
    vmax.f32 q1, q1, q10
    vmin.f32 q0, q0, q11
    vmin.f32 q1, q1, q11
    vadd.f32 q0, q0, q12
    vadd.f32 q1, q1, q12
    vsub.i32 q0, q0, q13
    vsub.i32 q1, q1, q13
    vmovn.i32 d0, q0
    vmovn.i32 d1, q1
    vmovn.i16 d0, q0
    vst1.8 {d0}, [r2]!
    bgt 1b
    bx lr
    .size mobileight_neon_requantize_float, . - mobileight_neon_requantize_float

@ (sums, multipliers, codes, count, constants): `FixedPoint::requantize`. Multipliers are pairs of a mantissa and a shift. Constants: the zero
@ point and the range.
    .globl mobileight_neon_requantize_fixed
    .hidden mobileight_neon_requantize_fixed
    .type mobileight_neon_requantize_fixed, %function
    .p2align 4
mobileight_neon_requantize_fixed:
    ldr ip, [sp]
    vld1.32 {d20[], d21[]}, [ip]!
    vld1.32 {d22[], d23[]}, [ip]!
    vld1.32 {d24[], d25[]}, [ip]
    vmov.i32 q13, #0
1:  vld1.32 {d0-d1}, [r0]!
    vld2.32 {d2-d5}, [r1]!
    subs r3, r3, #4
    @ Shifts to the left are positive.
    vmax.s32 q8, q2, q13
    vmin.s32 q9, q2, q13
    vqshl.s32 q0, q0, q8
    vqrdmulh.s32 q0, q0, q1
    @ One off negative numbers that are shifted to the right: ties go away from zero.
    vand q3, q0, q9
    vshr.s32 q3, q3, #31
    vqadd.s32 q0, q0, q3
    vrshl.s32 q0, q0, q9
    vqadd.s32 q0, q0, q10
    vmax.s32 q0, q0, q11
    vmin.s32 q0, q0, q12
    vmovn.i32 d0, q0
    vmovn.i16 d0, q0
    vst1.32 {d0[0]}, [r2]!
    bgt 1b
    bx lr
    .size mobileight_neon_requantize_fixed, . - mobileight_neon_requantize_fixed
