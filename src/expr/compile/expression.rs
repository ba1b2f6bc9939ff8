//! Expressions.

use num_bigint::BigInt;
use smol_str::SmolStr;
use starlark_syntax::{
    codemap::Span as SourceSpan,
    lexer::TokenInt,
    syntax::ast::{AstExpr, AstFString, AstLiteral, AstNoPayload, BinOp, Clause as AstClause, Expr, ForClauseP},
};

use super::{Compiler, MODULES, check, did_you_mean, scope};
use crate::{
    expr::{
        evaluate::callable,
        node::{Clause, Comprehension, FormatPart, Kind, Node, SliceNode, Span, UnaryOp},
        primitive::{self, BinaryOp, CompareOp},
    },
    model::Value,
};

impl Compiler<'_> {
    pub(super) fn expression(&mut self, expr: &AstExpr) -> Node {
        if let Some(scope) = self.scope() {
            scope.level += 1;
            scope.depth = scope.depth.max(scope.level);
        }
        let kind = self.kind(expr);
        if let Some(scope) = self.scope() {
            scope.level -= 1;
        }
        Node { span: self.span(expr.span), kind }
    }

    fn boxed(&mut self, expr: &AstExpr) -> Box<Node> {
        Box::new(self.expression(expr))
    }

    fn all(&mut self, exprs: &[AstExpr]) -> Box<[Node]> {
        exprs.iter().map(|expr| self.expression(expr)).collect()
    }

    fn kind(&mut self, expr: &AstExpr) -> Kind {
        match &expr.node {
            Expr::Identifier(name) => self.name(&name.ident, expr.span),
            Expr::Literal(literal) => Kind::Constant(self.literal(literal, expr.span)),
            Expr::Tuple(parts) => {
                let parts = self.all(parts);
                match constants(&parts) {
                    Some(values) => Kind::Constant(Value::tuple(values)),
                    None => Kind::Tuple(parts),
                }
            }
            Expr::List(parts) => Kind::List(self.all(parts)),
            Expr::Dict(pairs) => {
                let pairs: Box<[(Node, Node)]> =
                    pairs.iter().map(|(key, value)| (self.expression(key), self.expression(value))).collect();
                self.check_keys(&pairs);
                Kind::Dict(pairs)
            }
            Expr::Dot(of, name) => self.attribute(of, &name.node, name.span),
            Expr::Call(callee, arguments) => self.call(callee, arguments, expr.span),
            Expr::Index(pair) => Kind::Index(Box::new((self.expression(&pair.0), self.expression(&pair.1)))),
            Expr::Index2(parts) => {
                let of = self.expression(&parts.0);
                let keys: Box<[Node]> = Box::new([self.expression(&parts.1), self.expression(&parts.2)]);
                let span = Span { start: keys[0].span.start, end: keys[1].span.end };
                Kind::Index(Box::new((of, Node { span, kind: Kind::Tuple(keys) })))
            }
            Expr::Slice(of, start, stop, step) => Kind::Slice(Box::new(SliceNode {
                of: self.expression(of),
                start: start.as_ref().map(|e| self.expression(e)),
                stop: stop.as_ref().map(|e| self.expression(e)),
                step: step.as_ref().map(|e| self.expression(e)),
            })),
            Expr::Lambda(lambda) => {
                let compiled = self.lambda(lambda, expr.span);
                Self::closure(compiled)
            }
            Expr::Not(of) => Kind::Not(self.boxed(of)),
            Expr::Minus(of) => self.unary(UnaryOp::Negate, of),
            Expr::Plus(of) => self.unary(UnaryOp::Plus, of),
            Expr::BitNot(of) => self.unary(UnaryOp::BitNot, of),
            Expr::Op(left, op, right) => self.operation(left, *op, right),
            Expr::If(parts) => {
                Kind::If(Box::new((self.expression(&parts.0), self.expression(&parts.1), self.expression(&parts.2))))
            }
            Expr::ListComprehension(value, first, clauses) => {
                Kind::ListComprehension(self.comprehension(None, value, first, clauses))
            }
            Expr::DictComprehension(pair, first, clauses) => {
                Kind::DictComprehension(self.comprehension(Some(&pair.0), &pair.1, first, clauses))
            }
            Expr::FString(format) => self.format(format),
        }
    }

    fn name(&mut self, name: &str, span: SourceSpan) -> Kind {
        match name {
            "True" => return Kind::Constant(Value::Bool(true)),
            "False" => return Kind::Constant(Value::Bool(false)),
            "None" => return Kind::Constant(Value::None),
            _ => {}
        }
        if let Some(slot) = scope::resolve(&mut self.scopes, name) {
            return Kind::Local(slot);
        }
        if let Some(global) = self.globals.get(name) {
            let index = global.index;
            if let Some(scope) = self.scope() {
                scope.globals.insert(index);
            }
            return Kind::Global(index);
        }
        if let Some(builtin) = callable::builtin(name) {
            return Kind::Constant(builtin);
        }
        if let Some(module) = primitive::module(name) {
            return Kind::Constant(module);
        }
        self.unknown_name(span, name);
        Kind::Constant(Value::None)
    }

    /// Whether the name means what it means everywhere: no local or global hides it.
    pub(super) fn is_free(&mut self, name: &str) -> bool {
        scope::resolve(&mut self.scopes, name).is_none() && !self.globals.contains_key(name)
    }

    /// `json` of `json.loads`, `str` of `str.lower`
    pub(super) fn namespace<'e>(&mut self, expr: &'e AstExpr) -> Option<&'e str> {
        let Expr::Identifier(name) = &expr.node else { return None };
        let known = MODULES.contains(&name.ident.as_str()) || callable::TYPES.contains(&name.ident.as_str());
        (known && self.is_free(&name.ident)).then_some(name.ident.as_str())
    }

    fn attribute(&mut self, of: &AstExpr, name: &str, at: SourceSpan) -> Kind {
        let Some(space) = self.namespace(of) else {
            return Kind::Attribute(self.boxed(of), SmolStr::new(name));
        };
        let value = match MODULES.contains(&space) {
            true => callable::builtin(&format!("{space}.{name}"))
                .or_else(|| primitive::attribute(&primitive::module(space)?, name).ok()),
            false => callable::unbound(space, name),
        };
        value.map(Kind::Constant).unwrap_or_else(|| {
            self.unknown_member(space, name, at);
            Kind::Constant(Value::None)
        })
    }

    pub(super) fn unknown_member(&mut self, space: &str, name: &str, at: SourceSpan) {
        let hint = match MODULES.contains(&space) {
            true => did_you_mean(name, &primitive::module_member_names(space)),
            false => did_you_mean(name, &primitive::method_names()),
        };
        self.error(at, format!("`{space}` has no `{name}`"), hint);
    }

    fn literal(&mut self, literal: &AstLiteral, span: SourceSpan) -> Value {
        match literal {
            AstLiteral::Int(int) => match &int.node {
                TokenInt::I32(small) => Value::Int(i64::from(*small)),
                TokenInt::BigInt(big) => match big.to_string().parse::<BigInt>() {
                    Ok(big) => Value::int(big),
                    Err(_) => Value::Int(0),
                },
            },
            AstLiteral::Float(float) => Value::Float(float.node),
            AstLiteral::String(text) => Value::str(&text.node),
            AstLiteral::Bytes(bytes) => Value::Bytes(bytes.node.as_slice().into()),
            AstLiteral::Ellipsis => {
                self.error(span, "`...` is no value", None);
                Value::None
            }
        }
    }

    fn unary(&mut self, op: UnaryOp, of: &AstExpr) -> Kind {
        let of = self.expression(of);
        if check::type_of(&of) == Some("bool") {
            self.error_at(of.span, "bool is no number", Some("write `int(x)`"));
        }
        if let (UnaryOp::Negate, Kind::Constant(value)) = (op, &of.kind)
            && let Ok(negated) = primitive::negate(value)
        {
            return Kind::Constant(negated);
        }
        Kind::Unary(op, Box::new(of))
    }

    fn operation(&mut self, left: &AstExpr, op: BinOp, right: &AstExpr) -> Kind {
        let pair = Box::new((self.expression(left), self.expression(right)));
        match op {
            BinOp::Or => Kind::Or(pair),
            BinOp::And => Kind::And(pair),
            BinOp::In => Kind::In(pair),
            BinOp::NotIn => Kind::NotIn(pair),
            BinOp::Equal => self.compare(CompareOp::Equal, pair),
            BinOp::NotEqual => self.compare(CompareOp::NotEqual, pair),
            BinOp::Less => self.compare(CompareOp::Less, pair),
            BinOp::LessOrEqual => self.compare(CompareOp::LessOrEqual, pair),
            BinOp::Greater => self.compare(CompareOp::Greater, pair),
            BinOp::GreaterOrEqual => self.compare(CompareOp::GreaterOrEqual, pair),
            BinOp::Add => self.binary(BinaryOp::Add, pair),
            BinOp::Subtract => self.binary(BinaryOp::Subtract, pair),
            BinOp::Multiply => self.binary(BinaryOp::Multiply, pair),
            BinOp::Divide => self.binary(BinaryOp::Divide, pair),
            BinOp::FloorDivide => self.binary(BinaryOp::FloorDivide, pair),
            BinOp::Percent => self.binary(BinaryOp::Percent, pair),
            BinOp::BitAnd => self.binary(BinaryOp::BitAnd, pair),
            BinOp::BitOr => self.binary(BinaryOp::BitOr, pair),
            BinOp::BitXor => self.binary(BinaryOp::BitXor, pair),
            BinOp::LeftShift => self.binary(BinaryOp::LeftShift, pair),
            BinOp::RightShift => self.binary(BinaryOp::RightShift, pair),
        }
    }

    fn binary(&mut self, op: BinaryOp, pair: Box<(Node, Node)>) -> Kind {
        self.check_operands(op, &pair.0, &pair.1);
        Kind::Binary(op, pair)
    }

    pub(super) fn check_operands(&mut self, op: BinaryOp, left: &Node, right: &Node) {
        if matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor) {
            return;
        }
        let formats = op == BinaryOp::Percent && matches!(check::type_of(left), Some("str" | "bytes"));
        for operand in [left, right] {
            if check::type_of(operand) == Some("bool") && !formats {
                self.error_at(operand.span, "bool is no number", Some("write `int(x)`, or `1 if x else 0`"));
            }
        }
    }

    /// `{True: 1, 1: 2}` has one key in Python, and two here.
    fn check_keys(&mut self, pairs: &[(Node, Node)]) {
        let of_type = |names: &[&str]| {
            pairs.iter().map(|(key, _)| key).find(|key| check::type_of(key).is_some_and(|name| names.contains(&name)))
        };
        if let (Some(bool), Some(_)) = (of_type(&["bool"]), of_type(&["int", "float"])) {
            self.error_at(bool.span, "bool is no number", Some("write `int(x)`, or another key"));
        }
    }

    fn compare(&mut self, op: CompareOp, pair: Box<(Node, Node)>) -> Kind {
        let (left, right) = (&pair.0, &pair.1);
        let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
        for (this, other) in [(left, right), (right, left)] {
            let number = matches!(check::type_of(other), Some("int" | "float"));
            let not_bool = check::type_of(other) != Some("bool");
            if check::type_of(this) == Some("bool") && (number || ordered && not_bool) {
                self.error_at(this.span, "bool is no number", Some("write `int(x)`"));
            }
            if check::is_type_name(this) && check::calls(other, "type") {
                let hint = "write `isinstance(x, str)`, or `type(x) == \"str\"`";
                self.error_at(this.span, "type(x) gives the name of the type", Some(hint));
            }
        }
        Kind::Compare(op, pair)
    }

    fn comprehension(
        &mut self,
        key: Option<&AstExpr>,
        value: &AstExpr,
        first: &ForClauseP<AstNoPayload>,
        rest: &[AstClause],
    ) -> Box<Comprehension> {
        let over = self.iterable(&first.over);
        if let Some(scope) = self.scope() {
            scope.enter();
        }
        let mut boxes = Vec::new();
        let mut clauses = vec![Clause::For(self.bind_clause(&first.var, &mut boxes), over)];
        for clause in rest {
            clauses.push(match clause {
                AstClause::For(each) => {
                    let over = self.iterable(&each.over);
                    Clause::For(self.bind_clause(&each.var, &mut boxes), over)
                }
                AstClause::If(condition) => Clause::If(self.expression(condition)),
            });
        }
        let key = key.map(|key| self.expression(key));
        let value = self.expression(value);
        if let Some(scope) = self.scope() {
            scope.leave();
        }
        Box::new(Comprehension { key, value, clauses: clauses.into(), boxes: boxes.into() })
    }

    /// What a `for` goes over.
    pub(super) fn iterable(&mut self, expr: &AstExpr) -> Node {
        let node = self.expression(expr);
        self.check_iterable(&node);
        node
    }

    pub(super) fn check_iterable(&mut self, node: &Node) {
        let hint = match check::type_of(node) {
            Some("str") => "write `x.elems()` for its characters, or `x.split()` for its words",
            Some("int") => "write `range(n)`",
            Some("float" | "bool" | "NoneType") => "it is not a list",
            _ => return,
        };
        let name = check::type_of(node).unwrap_or_default();
        self.error_at(node.span, format!("'{name}' object is not iterable"), Some(hint));
    }

    fn format(&mut self, format: &AstFString) -> Kind {
        let specs: Vec<String> = self.places.fields(format.span).iter().map(|field| field.spec.clone()).collect();
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut expressions = format.expressions.iter().zip(specs.into_iter().chain(std::iter::repeat(String::new())));
        let mut letters = format.format.node.chars().peekable();
        while let Some(letter) = letters.next() {
            match (letter, letters.peek()) {
                ('{', Some('{')) | ('}', Some('}')) => {
                    letters.next();
                    text.push(letter);
                }
                ('{', _) => {
                    let inside: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                    let Some((expr, spec)) = expressions.next() else { continue };
                    if !text.is_empty() {
                        parts.push(FormatPart::Text(SmolStr::new(std::mem::take(&mut text))));
                    }
                    let field = match (inside.is_empty(), spec.is_empty()) {
                        (true, true) => SmolStr::default(),
                        (_, true) => SmolStr::new(format!("{{{inside}}}")),
                        (_, false) => SmolStr::new(format!("{{{inside}:{spec}}}")),
                    };
                    parts.push(FormatPart::Field(self.expression(expr), field));
                }
                _ => text.push(letter),
            }
        }
        if parts.is_empty() {
            return Kind::Constant(Value::str(text));
        }
        if !text.is_empty() {
            parts.push(FormatPart::Text(SmolStr::new(text)));
        }
        Kind::Format(parts.into())
    }
}

/// The values of nodes that are all immutable constants.
fn constants(nodes: &[Node]) -> Option<Vec<Value>> {
    nodes
        .iter()
        .map(|node| match &node.kind {
            Kind::Constant(value) if !matches!(value, Value::Opaque(_)) => Some(value.clone()),
            _ => None,
        })
        .collect()
}
